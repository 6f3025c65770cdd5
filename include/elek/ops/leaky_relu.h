// SPDX-License-Identifier: Apache-2.0
// Leaky ReLU: y = x < 0 ? slope * x : x (Maas et al. 2013).
// Tests: tests/unit/op_test.cpp, tests/golden/operators_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API LeakyReluAttrs {
  double slope = 0.01;

  static constexpr std::string_view kName = "leaky_relu";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kActivation;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("slope", self.slope, RealRange::kFinite);
  }
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs) { return inputs[0]; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] Activation activation() const noexcept {
    return {Activation::Kind::kLeakyRelu, 0, 0, static_cast<float>(slope)};
  }
  friend bool operator==(const LeakyReluAttrs&, const LeakyReluAttrs&) = default;
};

}  // namespace elek
