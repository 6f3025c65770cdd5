// SPDX-License-Identifier: Apache-2.0
// Sizes and names of the small types. Products of dimensions are checked for overflow before they are computed.
// Tests: tests/unit/base_test.cpp
#include "elek/types.h"

#include <algorithm>
#include <limits>

#include "core/error.h"

namespace elek {

size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
    case DType::kI64:
      return 8;
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kU8:
    case DType::kI8:
      return 1;
  }
  ELEK_CHECK(false, "unknown dtype " + std::to_string(static_cast<int>(dtype)));
  return 0;
}

std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
    case DType::kF64:
      return "F64";
    case DType::kI64:
      return "I64";
    case DType::kI32:
      return "I32";
    case DType::kU8:
      return "U8";
    case DType::kI8:
      return "I8";
  }
  ELEK_CHECK(false, "unknown dtype " + std::to_string(static_cast<int>(dtype)));
  return {};
}

std::string_view name_of(Precision precision) {
  switch (precision) {
    case Precision::kF32:
      return "f32";
    case Precision::kTf32:
      return "tf32";
    case Precision::kBf16:
      return "bf16";
    case Precision::kF16:
      return "f16";
    case Precision::kInt8:
      return "int8";
  }
  ELEK_CHECK(false, "unknown precision " + std::to_string(static_cast<int>(precision)));
  return {};
}

DType storage_of(Precision precision) {
  if (precision == Precision::kBf16) return DType::kBF16;
  return precision == Precision::kF16 ? DType::kF16 : DType::kF32;
}

std::string to_string(const Device& device) {
  switch (device.kind) {
    case DeviceKind::kCpu:
      return "cpu";
    case DeviceKind::kCuda:
      return "cuda:" + std::to_string(device.index);
  }
  return "of unknown kind " + std::to_string(static_cast<int>(device.kind));
}

Shape::Shape(std::initializer_list<int64_t> dims) : Shape(std::span<const int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const int64_t> dims) {
  ELEK_CHECK(dims.size() <= static_cast<size_t>(kMaxRank),
             "a shape has at most " + std::to_string(kMaxRank) + " dimensions, got " + std::to_string(dims.size()));
  for (const int64_t dim : dims) {
    ELEK_CHECK(dim > 0, "a dimension of a shape must be positive, got " + std::to_string(dim));
  }
  std::copy(dims.begin(), dims.end(), dims_.begin());
  rank_ = static_cast<int>(dims.size());
}

int64_t Shape::elements() const {
  int64_t product = 1;
  for (const int64_t dim : dims()) {
    ELEK_CHECK(product <= std::numeric_limits<int64_t>::max() / dim,
               "shape " + to_string(*this) + " has more than 2^63 elements");
    product *= dim;
  }
  return product;
}

std::string to_string(const Shape& shape) {
  std::string text = "[";
  for (int axis = 0; axis < shape.rank(); ++axis) {
    text += (axis > 0 ? ", " : "") + std::to_string(shape[axis]);
  }
  return text + "]";
}

size_t checked_bytes(const Shape& shape, DType dtype) {
  const auto elements = static_cast<size_t>(shape.elements());
  // PTRDIFF_MAX, not SIZE_MAX: pointer differences inside a block must fit in ptrdiff_t.
  ELEK_CHECK(elements <= static_cast<size_t>(std::numeric_limits<ptrdiff_t>::max()) / size_of(dtype),
             "shape " + to_string(shape) + " of " + std::string(name_of(dtype)) + " has more bytes than the address space");
  return elements * size_of(dtype);
}

std::string to_string(const ImageShape& shape) {
  return std::to_string(shape.channels) + "x" + std::to_string(shape.height) + "x" + std::to_string(shape.width);
}

int64_t channel_block(Layout layout) {
  switch (layout) {
    case Layout::kNchw:
    case Layout::kNhwc:
      return 1;
    case Layout::kNChw8c:
      return 8;
    case Layout::kNChw16c:
      return 16;
  }
  ELEK_CHECK(false, "unknown layout " + std::to_string(static_cast<int>(layout)));
  return 0;
}

int64_t padded_channels(Layout layout, int64_t channels) {
  const int64_t block = channel_block(layout);
  return (channels + block - 1) / block * block;
}

std::string_view name_of(Layout layout) {
  switch (layout) {
    case Layout::kNchw:
      return "nchw";
    case Layout::kNhwc:
      return "nhwc";
    case Layout::kNChw8c:
      return "nChw8c";
    case Layout::kNChw16c:
      return "nChw16c";
  }
  ELEK_CHECK(false, "unknown layout " + std::to_string(static_cast<int>(layout)));
  return {};
}

}  // namespace elek
