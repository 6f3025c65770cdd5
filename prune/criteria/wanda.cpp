// SPDX-License-Identifier: Apache-2.0
// wanda: the weights that read a channel, each times the norm of its inputs (Sun et al. 2023, arXiv 2306.11695, applied to
// channels instead of weights). Tests: tests/prune/score_test.cpp
#include "core/at.h"
#include "prune/criteria/list.h"
#include "prune/criteria/squares.h"
#include "prune/score.h"

namespace elek::criteria {
namespace {

class Wanda final : public SquaresCriterion {
 public:
  using SquaresCriterion::SquaresCriterion;

  void watch(const Graph& graph, const Group& group, Probes& probes) const override {
    for (const GroupConsumer& edge : group.consumers) watch_inputs(graph, edge.node, probes);
  }

 protected:
  void add(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) const override {
    for (const GroupConsumer& edge : group.consumers) {
      const TapNorms& norms = statistics.tap_norms.at(model.graph.node(edge.node).name);
      const LayerWeights layer = layer_weights(model, edge.node);
      add_columns(column_squares(layer, [&](int64_t c, int64_t tap) { return norms.norm_sq[at(c * layer.taps + tap)]; }),
                  channels_of(model.graph, group, edge.value), squares);
    }
  }
};

}  // namespace

const Criterion& wanda() {
  static const Wanda criterion({.name = "wanda",
                                .about = "weights that read the channel, times the norms of their inputs",
                                .family = "wanda",
                                .raw_convolutions = false,
                                .weighs_consumers = true});
  return criterion;
}

}  // namespace elek::criteria
