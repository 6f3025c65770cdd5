// SPDX-License-Identifier: Apache-2.0
// __half for the SIMT harness: storage and the conversions that elek uses, in integer arithmetic.
// Tests: tests/simt/harness_test.cpp (every half; ties and overflow)
#pragma once

#include <bit>
#include <cstdint>

struct __half {
  uint16_t bits;
};

inline float __half2float(__half h) {
  const uint32_t sign = (h.bits & 0x8000U) << 16U, magnitude = h.bits & 0x7fffU;
  if (magnitude >= 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U | (magnitude & 0x3ffU) << 13U);
  if (magnitude < 0x400U) {  // subnormal: magnitude * 2^-24, exact in f32
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13U) + 0x38000000U));
}

/// Rounds to nearest even.
inline __half __float2half_rn(float v) {
  const auto bits = std::bit_cast<uint32_t>(v);
  const auto sign = static_cast<uint16_t>(bits >> 16U & 0x8000U);
  const uint32_t magnitude = bits & 0x7fffffffU;
  if (magnitude > 0x7f800000U) return {0x7fff};                                  // NaN, as the device gives it
  if (magnitude >= 0x477ff000U) return {static_cast<uint16_t>(sign | 0x7c00U)};  // >= 65520: infinity
  if (magnitude < 0x38800000U) {                                                 // below 2^-14: subnormal
    const float scaled = std::bit_cast<float>(magnitude) * 0x1p24F;              // exact; < 2^10
    const auto whole = static_cast<uint32_t>(scaled);
    const float rest = scaled - static_cast<float>(whole);
    const uint32_t up = rest > 0.5F || (rest == 0.5F && (whole & 1U) != 0) ? 1 : 0;
    return {static_cast<uint16_t>(sign | (whole + up))};
  }
  const uint32_t rounded = magnitude - 0x38000000U + 0xfffU + (magnitude >> 13U & 1U);
  return {static_cast<uint16_t>(sign | rounded >> 13U)};
}
inline __half __float2half(float v) { return __float2half_rn(v); }
