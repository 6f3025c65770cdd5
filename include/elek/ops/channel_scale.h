// SPDX-License-Identifier: Apache-2.0
// Multiplies each channel by a number of its own, as in squeeze-and-excitation (Hu et al. 2018, arXiv 1709.01507). The second
// input has one position. Tests: tests/unit/op_test.cpp, tests/golden/operators_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// y[n,c,p] = x[n,c,p] * s[n,c]
struct ELEK_API ChannelScaleAttrs {
  static constexpr std::string_view kName = "channel_scale";
  static constexpr size_t kInputs = 2;
  static constexpr OpClass kClass = OpClass::kScale;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs);
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  friend bool operator==(const ChannelScaleAttrs&, const ChannelScaleAttrs&) = default;
};

}  // namespace elek
