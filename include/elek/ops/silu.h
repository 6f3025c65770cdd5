// SPDX-License-Identifier: Apache-2.0
// SiLU, also called swish: y = x / (1 + exp(-x)) (Elfwing et al. 2017, arXiv 1702.03118).
// Tests: tests/unit/op_test.cpp, tests/golden/operators_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API SiluAttrs {
  static constexpr std::string_view kName = "silu";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kActivation;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs) { return inputs[0]; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] static Activation activation() noexcept { return {Activation::Kind::kSilu}; }
  friend bool operator==(const SiluAttrs&, const SiluAttrs&) = default;
};

}  // namespace elek
