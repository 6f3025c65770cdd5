// SPDX-License-Identifier: Apache-2.0
// One view of the weights of convolutions and linear layers: [out, in/groups, taps], and the input channel of each weight.
// Scores, selection and apply() all index weights through it, so only this file knows how grouped convolutions lie.
// Tests: tests/prune/score_test.cpp, tests/prune/select_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "elek/graph.h"

namespace elek {

struct LayerWeights {
  std::span<const float> data;  // [outputs, inputs, taps], row-major
  int64_t outputs = 0;          // K, or out features
  int64_t inputs = 0;           // C / groups, or in features
  int64_t taps = 1;             // R * S
  int64_t groups = 1;
  [[nodiscard]] int64_t columns() const noexcept { return inputs * taps; }  // length of a row
  [[nodiscard]] int64_t input_channels() const noexcept { return inputs * groups; }
  /// The layer's input channel that column `input` of row `output` multiplies.
  [[nodiscard]] int64_t input_channel(int64_t output, int64_t input) const noexcept {
    return output / (outputs / groups) * inputs + input;
  }
  [[nodiscard]] double at(int64_t output, int64_t input, int64_t tap) const {
    return static_cast<double>(data[static_cast<size_t>((output * inputs + input) * taps + tap)]);
  }
};

/// ContractError if `node` is neither a convolution nor linear, or if its weight does not have the shape that the graph gives.
[[nodiscard]] LayerWeights layer_weights(const Model& model, ValueId node);

/// What a batch norm multiplies each channel by: weight / sqrt(running_var + eps).
[[nodiscard]] std::vector<double> norm_factors(const Model& model, ValueId batch_norm);

}  // namespace elek
