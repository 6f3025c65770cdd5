// SPDX-License-Identifier: Apache-2.0
// BFloat16: the upper half of an f32. `--precision bf16` stores activations in it; nothing computes in it. It has the exponents
// of f32 and eight significant bits, so storing a value changes it by at most 2^-8 of itself. Integers up to 256 are exact.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <bit>
#include <cstdint>

namespace elek {

struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  /// Rounds to nearest, ties to even; NaN stays NaN.
  explicit BFloat16(float value) noexcept {
    const auto wide = std::bit_cast<uint32_t>(value);
    const bool nan = value != value;
    bits = static_cast<uint16_t>(nan ? wide >> 16U | 0x40U : (wide + 0x7fffU + (wide >> 16U & 1U)) >> 16U);
  }
  /// Exact.
  explicit operator float() const noexcept { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16U); }
};

}  // namespace elek
