// SPDX-License-Identifier: Apache-2.0
// Rectified linear unit: y = x < 0 ? 0 : x, so that NaN stays NaN.
// Tests: tests/unit/op_test.cpp, tests/golden/operators_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API ReluAttrs {
  static constexpr std::string_view kName = "relu";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kActivation;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs) { return inputs[0]; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] static Activation activation() noexcept { return Activation::kRelu; }
  friend bool operator==(const ReluAttrs&, const ReluAttrs&) = default;
};

}  // namespace elek
