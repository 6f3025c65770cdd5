// SPDX-License-Identifier: Apache-2.0
// The common part of most criteria: a group's score is the root of a sum of squares over its values, producers or consumers
// (docs/criteria.md). Computed in double and in graph order, so equal statistics give bit-identical scores. Internal to
// prune/criteria/. Tests: tests/prune/score_test.cpp
#pragma once

#include <map>
#include <string>
#include <vector>

#include "elek/prune.h"
#include "prune/layer_weights.h"

namespace elek::criteria {

/// [channel of the group]. A square may be negative: the root keeps its sign. So a group of one value scores exactly as that
/// value does.
using Squares = std::vector<double>;

/// A criterion that sums squares, group by group.
class SquaresCriterion : public Criterion {
 public:
  using Criterion::Criterion;
  [[nodiscard]] Scores scores(const Model& model, const std::vector<Group>& groups, const Evidence& evidence,
                              uint64_t seed) const final;

 protected:
  /// Adds the squares of the group's channels to `squares`, which are zero.
  virtual void add(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) const = 0;
};

/// E[x^2] - E[x]^2 of one channel, at least 0.
[[nodiscard]] double variance(const ValueSums& sums, size_t c);

/// The sums of the stored value that holds `value`.
[[nodiscard]] const ValueSums& sums_of(const Model& model, const Statistics& statistics, ValueId value);

/// For each convolution and linear layer: the name of its stored value, after the batch norm, sum and ReLU fused with it.
[[nodiscard]] std::map<std::string, std::string> stored_values(const Graph& graph);

/// [input channel of the layer]: sum over rows and kernel positions of w^2 * factor(channel, kernel position).
template <typename Factor>
std::vector<double> column_squares(const LayerWeights& layer, const Factor& factor) {
  std::vector<double> squares(static_cast<size_t>(layer.input_channels()), 0.0);
  for (int64_t k = 0; k < layer.outputs; ++k) {
    for (int64_t i = 0; i < layer.inputs; ++i) {
      const int64_t c = layer.input_channel(k, i);
      for (int64_t tap = 0; tap < layer.taps; ++tap) {
        const double w = layer.at(k, i, tap);
        squares[static_cast<size_t>(c)] += w * w * factor(c, tap);
      }
    }
  }
  return squares;
}

/// Adds the sums of a layer's input channels to the group's channels. `channels`: channels_of() the layer's input. A linear
/// layer after a flatten has H*W inputs per channel.
void add_columns(const std::vector<double>& columns, const std::vector<int64_t>& channels, Squares& squares);

}  // namespace elek::criteria
