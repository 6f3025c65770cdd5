// SPDX-License-Identifier: Apache-2.0
// Maximum and mean over a sliding window, channel by channel. Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// Max pool pads with -infinity, average pool with zeros. With `ceil_mode` the last window may reach over the padded image.
struct ELEK_API PoolAttrs {
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  bool ceil_mode = false;

  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kWindow;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("kernel", self.kernel, kWindowRange);
    visit("stride", self.stride, kWindowRange);
    visit("padding", self.padding, kPaddingRange);
    visit("ceil_mode", self.ceil_mode, OmittedAt{false});
  }
  [[nodiscard]] ImageShape infer(const NodeInputs& inputs) const;
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] Window window() const noexcept { return {kernel, stride, padding, 1}; }
  [[nodiscard]] Rounding rounding() const noexcept { return ceil_mode ? Rounding::kUp : Rounding::kDown; }
  friend bool operator==(const PoolAttrs&, const PoolAttrs&) = default;
};

struct ELEK_API MaxPoolAttrs : PoolAttrs {
  static constexpr std::string_view kName = "max_pool";
  friend bool operator==(const MaxPoolAttrs&, const MaxPoolAttrs&) = default;
};

/// The divisor is the number of positions in the window: those of the padded image (`count_include_pad`, torchvision's default)
/// or those of the image alone. Positions that only ceil_mode adds never count.
struct ELEK_API AvgPoolAttrs : PoolAttrs {
  bool count_include_pad = true;

  static constexpr std::string_view kName = "avg_pool";
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    PoolAttrs::fields(self, visit);
    visit("count_include_pad", self.count_include_pad, OmittedAt{true});
  }
  friend bool operator==(const AvgPoolAttrs&, const AvgPoolAttrs&) = default;
};

}  // namespace elek
