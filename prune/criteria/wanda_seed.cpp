// SPDX-License-Identifier: Apache-2.0
// wanda-seed: Wanda for channels, as in the Python scripts that elek started from: the L2 norm of the weights that make a
// channel, times the mean of its stored value.
// Tests: tests/prune/seed_metrics_test.cpp
#include "core/at.h"
#include "prune/criteria/list.h"
#include "prune/criteria/squares.h"

namespace elek::criteria {
namespace {

class WandaSeed final : public SquaresCriterion {
 public:
  using SquaresCriterion::SquaresCriterion;

  void watch(const Graph& graph, const Group& group, Probes& probes) const override {
    const std::map<std::string, std::string> stored = stored_values(graph);
    for (const ValueId producer : group.producers) probes.values[stored.at(graph.node(producer).name)] |= kActivity;
  }

 protected:
  void add(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) const override {
    const std::map<std::string, std::string> stored = stored_values(model.graph);
    for (const ValueId producer : group.producers) {
      const ValueSums& sums = statistics.values.at(stored.at(model.graph.node(producer).name));
      const LayerWeights layer = layer_weights(model, producer);
      const std::vector<int64_t> channels = channels_of(model.graph, group, producer);
      for (int64_t k = 0; k < layer.outputs; ++k) {
        if (channels[at(k)] < 0) continue;
        double norm_sq = 0;
        for (int64_t j = 0; j < layer.columns(); ++j) {
          const double w = static_cast<double>(layer.data[at(k * layer.columns() + j)]);
          norm_sq += w * w;
        }
        const double mean = sums.sum[at(k)] / static_cast<double>(sums.count);
        squares[at(channels[at(k)])] += norm_sq * mean * mean;
      }
    }
  }
};

}  // namespace

const Criterion& wanda_seed() {
  static const WandaSeed criterion({.name = "wanda-seed",
                                    .about = "norm of the weights that make the channel, times its mean activation",
                                    .family = "wanda"});
  return criterion;
}

}  // namespace elek::criteria
