// SPDX-License-Identifier: Apache-2.0
// Batch normalisation with running statistics, as in inference. Tests: tests/unit/graph_test.cpp, tests/unit/op_test.cpp
#pragma once

#include "elek/export.h"
#include "elek/ops/operator.h"

namespace elek {

/// y[n,c,p] = (x[n,c,p] - running_mean[c]) / sqrt(running_var[c] + eps) * weight[c] + bias[c]
struct ELEK_API BatchNormAttrs {
  double eps = 1e-5;

  static constexpr std::string_view kName = "batch_norm";
  static constexpr size_t kInputs = 1;
  static constexpr OpClass kClass = OpClass::kBatchNorm;
  template <typename Self, typename Visit>
  static void fields(Self& self, Visit&& visit) {
    visit("eps", self.eps, RealRange::kPositive);
  }
  [[nodiscard]] static ImageShape infer(const NodeInputs& inputs) { return inputs[0]; }
  [[nodiscard]] static ChannelFlow channel_flow(std::span<const ImageShape> /*inputs*/) { return {ChannelFlow::How::kTies}; }
  [[nodiscard]] static std::vector<OpParameter> parameters(std::span<const ImageShape> /*inputs*/, const ImageShape& output) {
    const Shape each{output.channels};
    return {{".weight", each, ParameterRole::kVector},
            {".bias", each, ParameterRole::kVector},
            {".running_mean", each, ParameterRole::kRunningMean},
            {".running_var", each, ParameterRole::kRunningVariance}};
  }
  friend bool operator==(const BatchNormAttrs&, const BatchNormAttrs&) = default;
};

}  // namespace elek
