// SPDX-License-Identifier: Apache-2.0
// __nv_bfloat16 for the SIMT harness: storage and the conversions that elek uses.
// Tests: tests/simt/harness_test.cpp
#pragma once

#include <bit>
#include <cstdint>

struct __nv_bfloat16 {
  uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 b) { return std::bit_cast<float>(uint32_t{b.bits} << 16U); }

/// Rounds to nearest even.
inline __nv_bfloat16 __float2bfloat16_rn(float v) {
  const auto bits = std::bit_cast<uint32_t>(v);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16U & 1U)) >> 16U)};
}
inline __nv_bfloat16 __float2bfloat16(float v) { return __float2bfloat16_rn(v); }
