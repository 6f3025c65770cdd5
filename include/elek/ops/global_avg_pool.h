// SPDX-License-Identifier: Apache-2.0
// Mean of each channel over all its positions. Tests: tests/unit/graph_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API GlobalAvgPoolAttrs {
  static constexpr std::string_view kName = "global_avg_pool";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kReduction;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs) { return {inputs[0].channels, 1, 1}; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  friend bool operator==(const GlobalAvgPoolAttrs&, const GlobalAvgPoolAttrs&) = default;
};

}  // namespace elek
