// SPDX-License-Identifier: Apache-2.0
// Sum of two values of one shape (a residual connection). Tests: tests/unit/graph_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API AddAttrs {
  static constexpr std::string_view kName = "add";
  static constexpr size_t kInputs = 2;
  static constexpr OpClass kClass = OpClass::kAdd;
  template <typename Self, typename Visit>
  static void fields(Self& /*self*/, Visit&& /*visit*/) {}
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs);
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  friend bool operator==(const AddAttrs&, const AddAttrs&) = default;
};

}  // namespace elek
