// SPDX-License-Identifier: Apache-2.0
// The element types that weights files contain, by the names that safetensors gives them, and their conversion to f32. Files
// hold more types than elek computes with (counters, masks, 8-bit floats), so a type is a name here and not a DType.
// Tests: tests/models/weights_test.cpp, tests/models/weights_file_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace elek::detail {

/// Bytes of one element of the type `name` ("F32", "BOOL", "F8_E4M3" …). Nothing for an unknown name.
[[nodiscard]] std::optional<size_t> stored_bytes(std::string_view name);
/// F32, F16, BF16 or F64: what weights are made of.
[[nodiscard]] bool is_floating(std::string_view name);
/// The names that stored_bytes() knows, for messages.
[[nodiscard]] std::string stored_dtype_names();

/// Values in memory at any alignment. Element (i, j, …) lies at bytes.data() + size * (i * strides[0] + j * strides[1] + …).
/// Whoever makes one has checked that all of them lie inside `bytes`.
struct StoredArray {
  std::string_view dtype;
  std::span<const std::byte> bytes;
  std::span<const int64_t> shape;
  std::span<const int64_t> strides;  // in elements; as many as dimensions
};
/// Whether the elements lie one after another in row-major order.
[[nodiscard]] bool is_row_major(std::span<const int64_t> shape, std::span<const int64_t> strides);
/// Writes the elements in row-major order. Integers beyond 2^24 are rounded; BOOL becomes 0 or 1.
/// Errors    InputError, starting with `what`: a type that cannot be converted, a finite f64 beyond the range of f32
/// Contract  to.size() is the product of the shape
void to_f32(const StoredArray& from, const std::string& what, std::span<float> to);

}  // namespace elek::detail
