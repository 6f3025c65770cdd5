// SPDX-License-Identifier: Apache-2.0
// Linear (fully connected) layer over a feature vector. Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// y[n,k] = bias[k] + sum over c of w[k,c] x[n,c]
struct ELEK_API LinearAttrs {
  int64_t out_features = 0;
  bool bias = true;

  static constexpr std::string_view kName = "linear";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kLinear;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("out_features", self.out_features, kChannelRange);
    visit("bias", self.bias);
  }
  [[nodiscard]] ImageShape infer(const NodeInputs& inputs) const;
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) {
    return {ChannelFlow::How::kSeparates};
  }
  [[nodiscard]] std::vector<OpParameter> parameters(std::span<const ImageShape> inputs, const ImageShape& output) const;
  [[nodiscard]] static int64_t macs(std::span<const ImageShape> inputs, const ImageShape& output) {
    return Shape{output.channels, inputs[0].channels}.elements();
  }
  [[nodiscard]] LinearAttrs cut(std::span<const ImageShape> /*inputs*/, const KeptChannels& kept) const {
    return {std::ssize(kept.output), bias};
  }
  friend bool operator==(const LinearAttrs&, const LinearAttrs&) = default;
};

}  // namespace elek
