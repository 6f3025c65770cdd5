// SPDX-License-Identifier: Apache-2.0
// BFloat16: the upper half of an f32, which is how `--precision bf16` stores activations. Storage only: nothing computes in it.
// Eight significant bits, so that storing a value changes it by at most 2^-8 of itself; the exponents are f32's. Integers up
// to 256 are exact.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <bit>
#include <cstdint>

namespace elek {

struct BFloat16 {
  uint16_t bits = 0;

  BFloat16() = default;
  /// The nearest, ties to even; a NaN stays one.
  explicit BFloat16(float value) noexcept {
    const auto wide = std::bit_cast<uint32_t>(value);
    const bool nan = value != value;
    bits = static_cast<uint16_t>(nan ? wide >> 16U | 0x40U : (wide + 0x7fffU + (wide >> 16U & 1U)) >> 16U);
  }
  /// Exact.
  explicit operator float() const noexcept { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16U); }
};

}  // namespace elek
