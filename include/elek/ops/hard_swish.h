// SPDX-License-Identifier: Apache-2.0
// Hard swish: y = x * clip(x + 3, 0, 6) / 6 (Howard et al. 2019, arXiv 1905.02244).
// Tests: tests/unit/op_test.cpp, tests/golden/operators_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API HardSwishAttrs {
  static constexpr std::string_view kName = "hard_swish";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kActivation;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs) { return inputs[0]; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] static Activation activation() noexcept { return {Activation::Kind::kHardSwish}; }
  friend bool operator==(const HardSwishAttrs&, const HardSwishAttrs&) = default;
};

}  // namespace elek
