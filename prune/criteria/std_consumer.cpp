// SPDX-License-Identifier: Apache-2.0
// std-consumer: the standard deviation of a channel times the weights that read it. A channel that varies little is almost a
// constant, and the next layer's bias can replace a constant. Tests: tests/prune/score_test.cpp
#include "core/at.h"
#include "prune/criteria/list.h"
#include "prune/criteria/squares.h"
#include "prune/score.h"

namespace elek::criteria {
namespace {

class StdConsumer final : public SquaresCriterion {
 public:
  using SquaresCriterion::SquaresCriterion;

  void watch(const Graph& graph, const Group& group, Probes& probes) const override {
    for (const GroupConsumer& edge : group.consumers)
      probes.values[graph.node(watched_value(graph, edge.value)).name] |= kActivity;
  }

 protected:
  void add(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) const override {
    for (const GroupConsumer& edge : group.consumers) {
      const ValueSums& sums = sums_of(model, statistics, edge.value);
      const LayerWeights layer = layer_weights(model, edge.node);
      std::vector<double> columns = column_squares(layer, [](int64_t, int64_t) { return 1.0; });
      for (size_t i = 0; i < columns.size(); ++i) columns[i] *= variance(sums, i);
      add_columns(columns, channels_of(model.graph, group, edge.value), squares);
    }
  }
};

}  // namespace

const Criterion& std_consumer() {
  static const StdConsumer criterion(
      {.name = "std-consumer",
       .about = "standard deviation times the weights that read the channel; one pass over the images",
       .raw_convolutions = false,
       .weighs_consumers = true});
  return criterion;
}

}  // namespace elek::criteria
