// SPDX-License-Identifier: Apache-2.0
// Turns an image into a feature vector, in the order channel, row, column. It ties channels: channel c of the image is elements
// [c*H*W, (c+1)*H*W) of the vector. Tests: tests/unit/graph_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API FlattenAttrs {
  static constexpr std::string_view kName = "flatten";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kReshape;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs) { return {inputs[0].elements(), 1, 1}; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  friend bool operator==(const FlattenAttrs&, const FlattenAttrs&) = default;
};

}  // namespace elek
