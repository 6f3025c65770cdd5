// SPDX-License-Identifier: Apache-2.0
// Maximum and mean over a sliding square window, channel by channel. Tests: tests/unit/graph_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// Max pool pads with -infinity. Average pool pads with zeros and counts them in the divisor (torchvision's default).
struct ELEK_API PoolAttrs {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;

  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kWindow;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("kernel", self.kernel, kWindowRange);
    visit("stride", self.stride, kWindowRange);
    visit("padding", self.padding, kPaddingRange);
  }
  [[nodiscard]] ImageShape infer(const NodeInputs& inputs) const;
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] OpWindow window() const noexcept { return {kernel, stride}; }
  friend bool operator==(const PoolAttrs&, const PoolAttrs&) = default;
};

struct ELEK_API MaxPoolAttrs : PoolAttrs {
  static constexpr std::string_view kName = "max_pool";
  friend bool operator==(const MaxPoolAttrs&, const MaxPoolAttrs&) = default;
};

struct ELEK_API AvgPoolAttrs : PoolAttrs {
  static constexpr std::string_view kName = "avg_pool";
  friend bool operator==(const AvgPoolAttrs&, const AvgPoolAttrs&) = default;
};

}  // namespace elek
