// SPDX-License-Identifier: Apache-2.0
#include "models/stored_dtype.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

#include "core/error.h"

namespace elek::detail {

namespace {

struct NamedSize {
  std::string_view name;
  size_t bytes;
};
constexpr std::array kTypes = {
    NamedSize{"F32", 4},     NamedSize{"F16", 2},     NamedSize{"BF16", 2},        NamedSize{"F64", 8},
    NamedSize{"I64", 8},     NamedSize{"I32", 4},     NamedSize{"I16", 2},         NamedSize{"I8", 1},
    NamedSize{"U8", 1},      NamedSize{"BOOL", 1},    NamedSize{"U16", 2},         NamedSize{"U32", 4},
    NamedSize{"U64", 8},     NamedSize{"C64", 8},     NamedSize{"C128", 16},       NamedSize{"F8_E4M3", 1},
    NamedSize{"F8_E5M2", 1}, NamedSize{"F8_E8M0", 1}, NamedSize{"F8_E4M3FNUZ", 1}, NamedSize{"F8_E5M2FNUZ", 1},
};

float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000U) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fU;
  const uint32_t fraction = half & 0x3ffU;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000U | (fraction << 13));
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24, exact in f32
    const float magnitude = static_cast<float>(fraction) * 0x1p-24F;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
}

float bfloat_to_float(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

/// Calls convert(value, index) for each element in row-major order. Reads at any alignment: containers do not align.
template <typename T, typename Convert>
void convert_all(const StoredArray& from, std::span<float> to, const Convert& convert) {
  const size_t rank = from.shape.size();
  const int64_t row = rank == 0 ? 1 : from.shape[rank - 1];
  const int64_t step = rank == 0 ? 1 : from.strides[rank - 1];
  std::vector<int64_t> index(rank, 0);  // of the row's first element
  for (size_t out = 0; out < to.size(); out += static_cast<size_t>(row)) {
    int64_t start = 0;
    for (size_t axis = 0; axis + 1 < rank; ++axis) start += index[axis] * from.strides[axis];
    for (int64_t i = 0; i < row; ++i) {
      T value;
      std::memcpy(&value, from.bytes.data() + static_cast<size_t>(start + i * step) * sizeof(T), sizeof(T));
      to[out + static_cast<size_t>(i)] = convert(value, out + static_cast<size_t>(i));
    }
    for (size_t axis = rank; axis-- > 1;) {  // the next row: counts like an odometer over all axes but the last
      if (++index[axis - 1] < from.shape[axis - 1]) break;
      index[axis - 1] = 0;
    }
  }
}

template <typename T>
void convert_numbers(const StoredArray& from, std::span<float> to) {
  convert_all<T>(from, to, [](T value, size_t /*index*/) { return static_cast<float>(value); });
}

float narrowed(double value, size_t index, const std::string& what) {
  if (std::isfinite(value) && !(std::fabs(value) <= static_cast<double>(std::numeric_limits<float>::max()))) {
    throw InputError(what + ": element " + std::to_string(index) + " is " + std::to_string(value) + ", which does not fit f32");
  }
  return static_cast<float>(value);
}

using Converter = void (*)(const StoredArray&, std::span<float>);
constexpr std::array<std::pair<std::string_view, Converter>, 6> kIntegers = {{
    {"I64", convert_numbers<int64_t>},
    {"I32", convert_numbers<int32_t>},
    {"I16", convert_numbers<int16_t>},
    {"I8", convert_numbers<int8_t>},
    {"U8", convert_numbers<uint8_t>},
    {"BOOL",
     [](const StoredArray& from, std::span<float> to) {
       convert_all<uint8_t>(from, to, [](uint8_t value, size_t /*index*/) { return value != 0 ? 1.0F : 0.0F; });
     }},
}};

}  // namespace

std::optional<size_t> stored_bytes(std::string_view name) {
  for (const NamedSize& type : kTypes)
    if (type.name == name) return type.bytes;
  return std::nullopt;
}

bool is_floating(std::string_view name) { return name == "F32" || name == "F16" || name == "BF16" || name == "F64"; }

std::string stored_dtype_names() {
  std::string text;
  for (const NamedSize& type : kTypes) text += (text.empty() ? "" : ", ") + std::string(type.name);
  return text;
}

bool is_row_major(std::span<const int64_t> shape, std::span<const int64_t> strides) {
  int64_t expected = 1;
  for (size_t axis = shape.size(); axis-- > 0;) {
    if (shape[axis] != 1 && strides[axis] != expected) return false;
    expected *= shape[axis];
  }
  return true;
}

void to_f32(const StoredArray& from, const std::string& what, std::span<float> to) {
  if (to.empty()) return;
  if (from.dtype == "F32") {
    if (is_row_major(from.shape, from.strides)) {
      std::memcpy(to.data(), from.bytes.data(), to.size_bytes());
    } else {
      convert_numbers<float>(from, to);
    }
    return;
  }
  if (from.dtype == "F16") {
    return convert_all<uint16_t>(from, to, [](uint16_t bits, size_t /*index*/) { return half_to_float(bits); });
  }
  if (from.dtype == "BF16") {
    return convert_all<uint16_t>(from, to, [](uint16_t bits, size_t /*index*/) { return bfloat_to_float(bits); });
  }
  if (from.dtype == "F64") {
    return convert_all<double>(from, to, [&](double value, size_t index) { return narrowed(value, index, what); });
  }
  for (const auto& [name, convert] : kIntegers)
    if (name == from.dtype) return convert(from, to);
  throw InputError(what + ": its type " + std::string(from.dtype) + " cannot be converted to f32");
}

}  // namespace elek::detail
