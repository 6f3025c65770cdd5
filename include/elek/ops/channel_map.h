// SPDX-License-Identifier: Apache-2.0
// Each output channel is zero or a copy of an input channel, of which it takes every stride-th pixel. Used for shortcuts
// without weights (He et al. 2015, option A) and for masks. It ties nothing: a removed input channel reads as zero, a removed
// output channel leaves the list.
// Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// y[n,d,p,q] = source[d] < 0 ? 0 : x[n, source[d], p*stride, q*stride]
struct ELEK_API ChannelMapAttrs {
  std::vector<int32_t> source;
  int64_t stride = 1;

  static constexpr std::string_view kName = "channel_map";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kGather;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("source", self.source);
    visit("stride", self.stride, kWindowRange);
  }
  [[nodiscard]] ImageShape infer(const NodeInputs& inputs) const;
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kMaps}; }
  [[nodiscard]] ChannelMapAttrs cut(std::span<const ImageShape> inputs, const KeptChannels& kept) const;
  [[nodiscard]] Window window() const noexcept { return {1, stride, 0, 1}; }
  friend bool operator==(const ChannelMapAttrs&, const ChannelMapAttrs&) = default;
};

}  // namespace elek
