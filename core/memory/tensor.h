// SPDX-License-Identifier: Apache-2.0
// Buffer owns bytes and knows their resource. Tensor is a buffer with a shape and an element type. Both can be moved and cannot
// be copied: a copy is explicit, with clone().
// Tests: tests/unit/tensor_test.cpp
#pragma once

#include <span>
#include <string_view>

#include "core/error.h"
#include "core/memory/resource.h"
#include "core/types.h"

namespace elek {

/// Owns one block of a MemoryResource, which must outlive it. Uninitialised.
class Buffer {
 public:
  Buffer() = default;
  Buffer(size_t bytes, MemoryResource& resource, const BlockLabel& label, Stream stream = {});
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();
  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] MemoryResource* resource() const noexcept { return resource_; }

 private:
  MemoryResource* resource_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Stream stream_;
};

/// Owns a dense row-major array.
class Tensor {
 public:
  Tensor() = default;
  Tensor(const Shape& shape, DType dtype, MemoryResource& resource, const BlockLabel& label);
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  [[nodiscard]] size_t bytes() const noexcept { return buffer_.bytes(); }
  [[nodiscard]] void* data() const noexcept { return buffer_.data(); }
  [[nodiscard]] TensorView view() const;
  /// The elements as floats; ContractError unless the tensor is f32 on the host.
  [[nodiscard]] std::span<float> f32();
  [[nodiscard]] std::span<const float> f32() const;
  [[nodiscard]] Tensor clone(MemoryResource& resource, const BlockLabel& label) const;

 private:
  Buffer buffer_;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

}  // namespace elek
