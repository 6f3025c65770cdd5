// SPDX-License-Identifier: Apache-2.0
// One way to look at the weights of a convolution or linear layer: [out, in/groups, taps], with the input channel each belongs
// to. Scores, selection and surgery all index weights through it, so that grouped convolutions are understood in one place.
// Tests: tests/prune/score_test.cpp, tests/prune/select_test.cpp
#pragma once

#include <cstdint>
#include <span>

#include "elek/graph.h"

namespace elek {

struct LayerWeights {
  std::span<const float> data;  // [outputs, inputs, taps], row-major
  int64_t outputs = 0;          // K, or out features
  int64_t inputs = 0;           // C / groups, or in features
  int64_t taps = 1;             // R * S
  int64_t groups = 1;
  [[nodiscard]] int64_t columns() const noexcept { return inputs * taps; }  // a row's length
  [[nodiscard]] int64_t input_channels() const noexcept { return inputs * groups; }
  /// The layer's input channel that column `input` of row `output` multiplies.
  [[nodiscard]] int64_t input_channel(int64_t output, int64_t input) const noexcept {
    return output / (outputs / groups) * inputs + input;
  }
  [[nodiscard]] double at(int64_t output, int64_t input, int64_t tap) const {
    return static_cast<double>(data[static_cast<size_t>((output * inputs + input) * taps + tap)]);
  }
};

/// ContractError if `node` is neither convolution nor linear, or its weight has another shape than the graph asks for.
[[nodiscard]] LayerWeights layer_weights(const Model& model, ValueId node);

}  // namespace elek
