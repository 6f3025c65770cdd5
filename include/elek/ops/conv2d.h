// SPDX-License-Identifier: Apache-2.0
// Convolution of an image, with or without groups, strides, dilation and zero padding.
// A depthwise convolution (one input and one output channel per convolution group) keeps channels apart: pruning cuts its input
// and its output together. Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// y[n,k,p,q] = bias[k] + sum over c,r,s of w[k,c,r,s] x[n,c,p*stride-top+r*dilation,q*stride-left+s*dilation]
struct ELEK_API Conv2dAttrs {
  int64_t out_channels = 0;
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  int64_t groups = 1;
  bool bias = false;
  Extent dilation = 1;

  static constexpr std::string_view kName = "conv2d";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kConv;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("out_channels", self.out_channels, kChannelRange);
    visit("kernel", self.kernel, kWindowRange);
    visit("stride", self.stride, kWindowRange);
    visit("padding", self.padding, kPaddingRange);
    visit("groups", self.groups, kChannelRange);
    visit("bias", self.bias);
    visit("dilation", self.dilation, kWindowRange, OmittedAt{Extent(1)});
  }
  /// One filter per channel, and as many outputs as inputs.
  [[nodiscard]] bool is_depthwise(int64_t in_channels) const noexcept {
    return groups > 1 && groups == out_channels && groups == in_channels;
  }
  [[nodiscard]] ImageShape infer(const NodeInputs& inputs) const;
  [[nodiscard]] ChannelFlow channel_flow(std::span<const ImageShape> inputs) const;
  [[nodiscard]] std::vector<OpParameter> parameters(std::span<const ImageShape> inputs, const ImageShape& output) const;
  [[nodiscard]] int64_t macs(std::span<const ImageShape> inputs, const ImageShape& output) const;
  [[nodiscard]] Conv2dAttrs cut(std::span<const ImageShape> inputs, const KeptChannels& kept) const;
  [[nodiscard]] Window window() const noexcept { return {kernel, stride, padding, dilation}; }
  friend bool operator==(const Conv2dAttrs&, const Conv2dAttrs&) = default;
};

}  // namespace elek
