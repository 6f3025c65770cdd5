// SPDX-License-Identifier: Apache-2.0
// The channels of two or more values, one value after the other (DenseNet, Huang et al. 2017; SqueezeNet's fire modules). The
// values have one height and width. Pruning follows each input's channels to their place in the result.
// Tests: tests/unit/op_test.cpp, tests/golden/operators_test.cpp, tests/prune/concat_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// y[n, first_i + c, p] = x_i[n, c, p], where first_i is the number of channels of the inputs before x_i
struct ELEK_API ConcatAttrs {
  static constexpr std::string_view kName = "concat";
  static constexpr size_t kInputs = kTwoOrMore;
  static constexpr OpClass kClass = OpClass::kConcat;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs);
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kJoins}; }
  friend bool operator==(const ConcatAttrs&, const ConcatAttrs&) = default;
};

}  // namespace elek
