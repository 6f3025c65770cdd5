// SPDX-License-Identifier: Apache-2.0
// What most criteria have in common: a group's score is the root of a sum of squares over its values, producers or consumers
// (docs/criteria.md). All in double, in graph order, so that the same statistics give the same scores to the bit. Internal to
// prune/criteria/. Tests: tests/prune/score_test.cpp
#pragma once

#include <map>
#include <string>
#include <vector>

#include "elek/prune.h"
#include "prune/layer_weights.h"

namespace elek::criteria {

/// [channel of the group]. A square may be negative: the root keeps the sign, so that a group of one value scores exactly as
/// that value does.
using Squares = std::vector<double>;

/// A criterion that adds up squares group by group.
class SquaresCriterion : public Criterion {
 public:
  using Criterion::Criterion;
  [[nodiscard]] Scores scores(const Model& model, const std::vector<Group>& groups, const Evidence& evidence,
                              uint64_t seed) const final;

 protected:
  /// Adds what the group's channels have into `squares`, which are zero.
  virtual void add(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) const = 0;
};

/// E[x^2] - E[x]^2 of one channel, at least 0.
[[nodiscard]] double variance(const ValueSums& sums, size_t c);

/// The sums of the value that is stored where `value` is read.
[[nodiscard]] const ValueSums& sums_of(const Model& model, const Statistics& statistics, ValueId value);

/// Names of the values that are stored of what convolutions and linear layers make: batch norm, sum and ReLU drawn in.
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

/// Adds a layer's input channels to the group's. A linear layer behind a flattened image has H*W of them for a channel.
void add_columns(const std::vector<double>& columns, Squares& squares);

}  // namespace elek::criteria
