// SPDX-License-Identifier: Apache-2.0
// magnitude and magnitude-l1: the L2 and the L1 norm of all weights that make or read a channel. They need no images.
// Tests: tests/prune/score_test.cpp, tests/prune/seed_metrics_test.cpp
#include <cmath>
#include <functional>

#include "core/at.h"
#include "prune/criteria/list.h"
#include "prune/criteria/squares.h"
#include "prune/groups.h"

namespace elek::criteria {
namespace {

class Magnitude final : public SquaresCriterion {
 public:
  using SquaresCriterion::SquaresCriterion;

 protected:
  void add(const Model& model, const Group& group, const Statistics& /*statistics*/, Squares& squares) const override {
    for (const ValueId producer : group.producers) {
      const LayerWeights layer = layer_weights(model, producer);
      const std::vector<int64_t> channels = channels_of(model.graph, group, producer);
      for (int64_t k = 0; k < layer.outputs; ++k) {
        if (channels[at(k)] < 0) continue;
        for (int64_t j = 0; j < layer.columns(); ++j) {
          const double w = static_cast<double>(layer.data[at(k * layer.columns() + j)]);
          squares[at(channels[at(k)])] += w * w;
        }
      }
    }
    for (const GroupConsumer& edge : group.consumers) {
      if (is_depthwise(model.graph, edge.node)) continue;  // its filters were counted as rows of a producer
      add_columns(column_squares(layer_weights(model, edge.node), [](int64_t, int64_t) { return 1.0; }),
                  channels_of(model.graph, group, edge.value), squares);
    }
  }
};

class MagnitudeL1 final : public SquaresCriterion {
 public:
  using SquaresCriterion::SquaresCriterion;

 protected:
  /// The square of the sum of |w|, because the caller takes the root.
  void add(const Model& model, const Group& group, const Statistics& /*statistics*/, Squares& squares) const override {
    const auto sum = [&](const LayerWeights& layer, const std::function<int64_t(int64_t, int64_t)>& channel) {
      for (int64_t k = 0; k < layer.outputs; ++k) {
        for (int64_t j = 0; j < layer.columns(); ++j) {
          const int64_t c = channel(k, j);
          if (c >= 0) squares[at(c)] += std::fabs(static_cast<double>(layer.data[at(k * layer.columns() + j)]));
        }
      }
    };
    for (const ValueId producer : group.producers) {
      const std::vector<int64_t> channels = channels_of(model.graph, group, producer);
      sum(layer_weights(model, producer), [&](int64_t k, int64_t) { return channels[at(k)]; });
    }
    for (const GroupConsumer& edge : group.consumers) {
      if (is_depthwise(model.graph, edge.node)) continue;  // its filters were counted as rows of a producer
      const LayerWeights layer = layer_weights(model, edge.node);
      const std::vector<int64_t> channels = channels_of(model.graph, group, edge.value);
      sum(layer, [&](int64_t k, int64_t j) { return channels[at(layer.input_channel(k, j / layer.taps))]; });
    }
    for (double& square : squares) square *= square;
  }
};

}  // namespace

const Criterion& magnitude() {
  static const Magnitude criterion({.name = "magnitude",
                                    .about = "L2 norm of the weights that make and read the channel; needs no images",
                                    .family = "magnitude",
                                    .needs = Criterion::Needs::kWeights,
                                    .weighs_consumers = true});
  return criterion;
}

const Criterion& magnitude_l1() {
  static const MagnitudeL1 criterion({.name = "magnitude-l1",
                                      .about = "the same with the L1 norm",
                                      .family = "magnitude",
                                      .needs = Criterion::Needs::kWeights,
                                      .weighs_consumers = true});
  return criterion;
}

}  // namespace elek::criteria
