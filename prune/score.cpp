// SPDX-License-Identifier: Apache-2.0
// Checks first, then scores: statistics may come from files, and wrong ones must not choose channels.
// Tests: tests/prune/score_test.cpp
#include "prune/score.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "core/runtime.h"
#include "prune/groups.h"
#include "prune/layer_weights.h"

namespace elek {
namespace {

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

const std::string kRetake = "; take the statistics again with this model and criterion";

void check_value(const Graph& graph, const std::string& name, uint32_t wanted, const Statistics& statistics) {
  const auto found = statistics.values.find(name);
  if (found == statistics.values.end()) throw InputError("statistics: no sums of value '" + name + "'" + kRetake);
  const ValueSums& sums = found->second;
  const int64_t channels = graph.node(graph.at(name)).shape.channels;
  int64_t held = channels;  // size of a wanted array that does not have one sum per channel
  const auto look = [&](uint32_t set, const auto&... vectors) {
    for (const int64_t size : {std::ssize(vectors)...}) {
      if ((wanted & set) != 0 && size != channels) held = size;
    }
  };
  look(kActivity, sums.sum, sums.sum_sq, sums.active);
  look(kAbsolute, sums.abs_sum);
  look(kPerSample, sums.fired, sums.mean_sum, sums.mean_peak);
  if (sums.channels != channels || held != channels) {
    throw InputError("statistics: value '" + name + "': expected sums of " + std::to_string(channels) + " channels, found " +
                     std::to_string(held) + " of " + std::to_string(sums.channels) + kRetake);
  }
  if (sums.count <= 0) throw InputError("statistics: value '" + name + "' has no sample" + kRetake);
  if (sums.nonfinite != 0 || !all_finite(sums.sum) || !all_finite(sums.sum_sq) || !all_finite(sums.abs_sum) ||
      !all_finite(sums.mean_sum) || !all_finite(sums.mean_peak)) {
    throw InputError(
        "statistics: value '" + name + "' has " + std::to_string(sums.nonfinite) +
        " NaN or infinite activations (or its sums overflowed); find the layer before it that makes them, or check that the " +
        "images are what the network expects");
  }
}

void check_norms(const Model& model, const std::string& name, const Statistics& statistics) {
  const auto found = statistics.tap_norms.find(name);
  if (found == statistics.tap_norms.end()) throw InputError("statistics: no tap norms of layer '" + name + "'" + kRetake);
  const TapNorms& norms = found->second;
  const LayerWeights layer = layer_weights(model, model.graph.at(name));
  const int64_t expected = layer.input_channels() * layer.taps;
  if (std::ssize(norms.norm_sq) != expected) {
    throw InputError("statistics: layer '" + name + "': expected " + std::to_string(expected) + " tap norms, found " +
                     std::to_string(norms.norm_sq.size()) + kRetake);
  }
  if (norms.samples <= 0) throw InputError("statistics: layer '" + name + "' has no sample" + kRetake);
  const bool negative = std::any_of(norms.norm_sq.begin(), norms.norm_sq.end(), [](double v) { return v < 0; });
  if (!all_finite(norms.norm_sq) || negative) {
    throw InputError("statistics: tap norms of layer '" + name + "' are not all finite and >= 0: its input has NaN or " +
                     "infinite activations; find the layer before it that makes them");
  }
}

}  // namespace

ValueId watched_value(const Graph& graph, ValueId value) {
  while (graph.node(value).is<FlattenAttrs>()) {
    const ValueId source = graph.node(value).inputs.at(0);
    if (graph.node(source).shape.positions() != 1) break;
    value = source;
  }
  return value;
}

void watch_inputs(const Graph& graph, ValueId node, Probes& probes) {
  const std::string& name = graph.node(node).name;
  const std::vector<std::string>& all = probes.tap_norms;
  if (std::find(all.begin(), all.end(), name) == all.end()) probes.tap_norms.push_back(name);
}

Probes probes_for(const Criterion& criterion, const Graph& graph, Tap tap) {
  if (tap != Tap::kRelu && !criterion.traits().raw_convolutions) {
    throw UsageError(
        criterion.name() +
        " needs the stored values (tap relu); raw convolutions (tap conv) can be watched with positions, frequency, "
        "rms and similar criteria");
  }
  Probes probes;
  probes.tap = tap;
  for (const Group& group : find_groups(graph)) {
    if (group.prunable) criterion.watch(graph, group, probes);
  }
  return probes;
}

Probes probes_for_weights(const Graph& graph) {
  Probes probes;
  const std::vector<Group> groups = find_groups(graph);
  for (const Group& group : groups) {
    for (const GroupConsumer& edge : group.consumers) {
      if (!is_classifier(graph, groups, edge.node)) watch_inputs(graph, edge.node, probes);
    }
  }
  return probes;
}

void check_statistics(const Model& model, const Statistics& statistics, const Probes& probes) {
  if (probes.empty()) return;
  if (const uint64_t expected = hash(model); statistics.model_hash != expected) {
    throw InputError("statistics: expected those of model " + to_hex(expected) + ", found those of model " +
                     to_hex(statistics.model_hash) + kRetake);
  }
  for (const auto& [name, sums] : probes.values) check_value(model.graph, name, sums, statistics);
  for (const std::string& name : probes.tap_norms) check_norms(model, name, statistics);
}

Scores score_channels(const Model& model, const std::vector<Group>& groups, const Criterion& criterion,
                      const Evidence& evidence, uint64_t seed) {
  const Probes probes = probes_for(criterion, model.graph);
  if (!probes.empty() && evidence.statistics.tap != Tap::kRelu && !criterion.traits().raw_convolutions) {
    throw InputError("statistics: " + criterion.name() +
                     " needs the stored values (tap relu), found raw convolutions (tap conv); take the statistics again");
  }
  check_statistics(model, evidence.statistics, probes);
  return criterion.scores(model, groups, evidence, seed);
}

}  // namespace elek
