// SPDX-License-Identifier: Apache-2.0
// The layout of one buffer in which a convolution problem can be tried on the device.
// Tests: tests/gpu/backend_conv_test.cpp
#pragma once

#include "backends/cuda/cudnn/conv_graph.h"
#include "backends/steps.h"

namespace elek::backends::cuda {

struct ProblemScratch {
  size_t x = 0, w = 0, bias = 0, residual = 0, y = 0, workspace = 0, bytes = 0;
  std::array<size_t, kFusedSumKinds> sums{};
  ProblemScratch(const ConvProblem& p, size_t workspace_bytes) {
    const auto take = [this](size_t size) { return reserve(bytes, size); };
    const size_t filters = static_cast<size_t>(p.filters) * sizeof(float);
    x = take(p.x_bytes());
    w = take(p.w_bytes());
    bias = take(filters);
    residual = take(p.residual ? p.y_bytes() : 0);
    y = take(p.y_bytes());
    for (size_t& sum : sums) sum = take(filters);
    workspace = take(workspace_bytes);
  }
  [[nodiscard]] ConvPointers pointers(std::byte* base) const {
    ConvPointers p;
    p.x = base + x;
    p.w = base + w;
    p.bias = base + bias;
    p.residual = base + residual;
    p.y = base + y;
    for (size_t i = 0; i < sums.size(); ++i) p.sums[i] = reinterpret_cast<float*>(base + sums[i]);
    return p;
  }
};

}  // namespace elek::backends::cuda
