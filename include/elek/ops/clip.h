// SPDX-License-Identifier: Apache-2.0
// Clip: y = x < low ? low : x > high ? high : x. ReLU6 is low 0, high 6 (Howard et al. 2017, arXiv 1704.04861).
// Tests: tests/unit/op_test.cpp, tests/golden/operators_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API ClipAttrs {
  double low = 0;
  double high = 6;

  static constexpr std::string_view kName = "clip";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kActivation;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("low", self.low, RealRange::kFinite);
    visit("high", self.high, RealRange::kFinite);
  }
  [[nodiscard]] ImageShape infer(const NodeInputs& inputs) const;
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] Activation activation() const noexcept {
    return {Activation::Kind::kClip, static_cast<float>(low), static_cast<float>(high)};
  }
  friend bool operator==(const ClipAttrs&, const ClipAttrs&) = default;
};

}  // namespace elek
