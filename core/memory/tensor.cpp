// SPDX-License-Identifier: Apache-2.0
// Buffer and Tensor: one owner, which returns the bytes to their resource. Tests: tests/unit/tensor_test.cpp
#include <cstring>
#include <string>
#include <utility>

#include "core/error.h"
#include "elek/memory.h"

namespace elek {

Buffer::Buffer(size_t bytes, MemoryResource& resource, const BlockLabel& label, Stream stream)
    : resource_(&resource), data_(resource.allocate(bytes, label, stream)), bytes_(bytes), stream_(stream) {}

Buffer::Buffer(Buffer&& other) noexcept
    : resource_(std::exchange(other.resource_, nullptr)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      stream_(std::exchange(other.stream_, Stream{})) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  Buffer taken(std::move(other));  // leaves `other` empty; if `other` is this object, the swap gives it its bytes back
  std::swap(resource_, taken.resource_);
  std::swap(data_, taken.data_);
  std::swap(bytes_, taken.bytes_);
  std::swap(stream_, taken.stream_);
  return *this;
}

Buffer::~Buffer() {
  if (resource_ != nullptr) {
    resource_->deallocate(data_, bytes_, stream_);
  }
}

Tensor::Tensor(const Shape& shape, DType dtype, MemoryResource& resource, const BlockLabel& label)
    : buffer_(checked_bytes(shape, dtype), resource, label), shape_(shape), dtype_(dtype) {}

TensorView Tensor::view() const {
  return {data(), shape_, dtype_, buffer_.resource() != nullptr ? buffer_.resource()->device() : Device{}};
}

std::span<float> Tensor::f32() {
  const TensorView all = view();
  ELEK_CHECK(dtype_ == DType::kF32 && is_host(all.device), "expected F32 on the host, the tensor " + to_string(shape_) +
                                                               " is " + std::string(name_of(dtype_)) + " on " +
                                                               to_string(all.device));
  return {static_cast<float*>(all.data), bytes() / sizeof(float)};
}

std::span<const float> Tensor::f32() const { return const_cast<Tensor*>(this)->f32(); }

Tensor Tensor::clone(MemoryResource& resource, const BlockLabel& label) const {
  ELEK_CHECK(is_host(view().device) && is_host(resource.device()),
             "clone() copies only on the host: '" + std::string(label.name) + "' is on " + to_string(view().device) +
                 ", to be copied to " + to_string(resource.device()));
  if (data() == nullptr) {
    return {};
  }
  Tensor copy(shape_, dtype_, resource, label);
  std::memcpy(copy.data(), data(), bytes());
  return copy;
}

}  // namespace elek
