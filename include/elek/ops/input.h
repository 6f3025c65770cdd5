// SPDX-License-Identifier: Apache-2.0
// The network's input: has a shape, computes nothing. A graph has one, its first node. Tests: tests/unit/graph_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

struct ELEK_API InputAttrs {
  ImageShape shape;

  static constexpr std::string_view kName = "input";
  static constexpr size_t kInputs = 0;
  static constexpr OpClass kClass = OpClass::kInput;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("shape", self.shape);
  }
  [[nodiscard]] ImageShape infer(const NodeInputs& /*inputs*/) const { return shape; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) {
    return {ChannelFlow::How::kSeparates};
  }
  friend bool operator==(const InputAttrs&, const InputAttrs&) = default;
};

}  // namespace elek
