// SPDX-License-Identifier: Apache-2.0
// Activation functions as plain data. Graphs name them, backends pass them on, kernels compute them. All of them keep NaN.
// Tests: tests/kernels/epilogue_test.cpp, tests/gpu/kernels/epilogue_test.cpp
#pragma once

#include <cstdint>
#include <limits>
#include <string_view>

namespace elek {

struct Activation {
  enum class Kind : uint8_t {
    kNone,       // v
    kRelu,       // v < 0 ? 0 : v
    kClip,       // v < low ? low : v > high ? high : v (ReLU6: 0 and 6)
    kLeakyRelu,  // v < 0 ? slope * v : v
    kSigmoid,    // 1 / (1 + exp(-v))
    kHardSwish,  // v * clip(v + 3, 0, 6) / 6
    kSilu,       // v / (1 + exp(-v))
  };
  Kind kind = Kind::kNone;
  float low = 0;
  float high = 0;
  float slope = 0;

  static const Activation kNone;
  static const Activation kRelu;

  [[nodiscard]] constexpr bool is_none() const noexcept { return kind == Kind::kNone; }
  [[nodiscard]] constexpr bool is_relu() const noexcept { return kind == Kind::kRelu; }
  /// None or ReLU. Libraries have these in their kernels. Applied before or after rounding they give the same result.
  [[nodiscard]] constexpr bool is_plain() const noexcept { return is_none() || is_relu(); }
  /// Only clamps to a range that contains 0: none, ReLU and most clips.
  [[nodiscard]] constexpr bool is_clamp() const noexcept {
    return is_plain() || (kind == Kind::kClip && low <= 0 && high >= 0);
  }
  [[nodiscard]] constexpr float lowest() const noexcept {
    return is_none() ? -std::numeric_limits<float>::infinity() : low;  // for a clamp only; 0 for ReLU
  }
  [[nodiscard]] constexpr float highest() const noexcept { return is_plain() ? std::numeric_limits<float>::infinity() : high; }
  friend constexpr bool operator==(const Activation&, const Activation&) = default;
};
inline constexpr Activation Activation::kNone{};
inline constexpr Activation Activation::kRelu{Activation::Kind::kRelu};

[[nodiscard]] constexpr std::string_view name_of(Activation::Kind kind) {
  switch (kind) {
    case Activation::Kind::kNone:
      return "none";
    case Activation::Kind::kRelu:
      return "relu";
    case Activation::Kind::kClip:
      return "clip";
    case Activation::Kind::kLeakyRelu:
      return "leaky_relu";
    case Activation::Kind::kSigmoid:
      return "sigmoid";
    case Activation::Kind::kHardSwish:
      return "hard_swish";
    case Activation::Kind::kSilu:
      return "silu";
  }
  return "";
}

}  // namespace elek
