// SPDX-License-Identifier: Apache-2.0
// The kernels that the deviceless tests ask cuDNN for: every distinct convolution of a ResNet, as the CUDA backend would ask.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backends/cuda/cudnn/conv_problem.h"

namespace elek::test {

struct Layer {
  backends::cuda::ConvProblem problem;
  int64_t layers = 0;  // number of the network's layers with this problem
};

enum class Sums : uint8_t { kNone, kAll };

/// The distinct problems of `arch` ("resnet18", "resnet50") at 224x224 in f16, in network order. `pruned`: channel counts that
/// are not multiples of 8. Sums::kAll: every sum that can be fused after the layer's own epilogue.
[[nodiscard]] std::vector<Layer> layers_of(const std::string& arch, bool pruned, int64_t samples, Sums sums);

}  // namespace elek::test
