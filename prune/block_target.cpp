// SPDX-License-Identifier: Apache-2.0
// Goes from the layer through sums of sums, as long as the layer is the last of each. Tests:
// tests/prune/block_target_test.cpp
#include "prune/block_target.h"

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "prune/layer_weights.h"
#include "prune/trail.h"

namespace elek {
namespace {

/// Factors below this share of the layer's largest count as zero. Weights would have to grow a millionfold for such a channel.
constexpr double kLeastFactor = 1e-6;

/// The only reader of a value that is not the graph's output, or -1. A reader that reads it twice counts as two.
ValueId only_reader(const Graph& graph, ValueId value) {
  const std::vector<ValueId> readers = graph.consumers(value);
  if (readers.size() != 1 || graph.output() == value) return -1;
  const std::vector<ValueId>& inputs = graph.node(readers[0]).inputs;
  return std::count(inputs.begin(), inputs.end(), value) == 1 ? readers[0] : -1;
}

/// Whether `sum` depends on a fitted layer after `layer`.
bool has_later_layer(const Graph& graph, ValueId layer, ValueId sum, const std::vector<bool>& fitted) {
  const std::vector<bool> needed = needed_nodes(graph, layer, sum);
  for (ValueId id = layer + 1; id < sum; ++id) {
    if (needed[at(id)] && fitted[at(id)]) return true;
  }
  return false;
}

}  // namespace

std::optional<BlockTarget> block_target(const Graph& graph, ValueId layer, const std::vector<bool>& fitted,
                                        const std::vector<bool>& differs) {
  BlockTarget target;
  ValueId value = layer;
  if (const ValueId reader = only_reader(graph, value); reader >= 0 && graph.node(reader).is<BatchNormAttrs>()) {
    target.norm = value = reader;
  }
  bool wrong = false;
  for (;;) {
    const ValueId sum = only_reader(graph, value);
    if (sum < 0 || !graph.node(sum).is<AddAttrs>() || has_later_layer(graph, layer, sum, fitted)) break;
    for (const ValueId operand : graph.node(sum).inputs) {
      if (operand == value) continue;
      target.rest.push_back(operand);
      wrong = wrong || differs[at(operand)];
    }
    target.sum = value = sum;
  }
  if (!wrong) return std::nullopt;
  return target;
}

std::vector<TargetScale> target_scales(const Model& model, const BlockTarget& target) {
  if (target.norm < 0) return std::vector<TargetScale>(at(model.graph.node(target.sum).shape.channels));
  const Node& norm = model.graph.node(target.norm);
  const std::span<const float> shifts = model.parameter(norm.name + ".bias").f32();
  const std::span<const float> means = model.parameter(norm.name + ".running_mean").f32();
  const std::vector<double> factors = norm_factors(model, target.norm);
  double largest = 0;
  for (const double factor : factors) largest = std::max(largest, std::fabs(factor));
  std::vector<TargetScale> scales(factors.size());
  for (size_t k = 0; k < scales.size(); ++k) {
    if (!(std::fabs(factors[k]) > kLeastFactor * largest)) continue;
    scales[k].factor = 1 / factors[k];
    scales[k].shift = double{means[k]} - double{shifts[k]} / factors[k];
  }
  return scales;
}

}  // namespace elek
