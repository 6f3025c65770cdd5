// SPDX-License-Identifier: Apache-2.0
#include "prune/why.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/at.h"
#include "core/error.h"
#include "core/hint.h"
#include "core/sums.h"
#include "prune/groups.h"
#include "prune/layer_weights.h"
#include "prune/score.h"

namespace elek {
namespace {

/// [element of a value]: the channel that it is, or -1 if it is not asked about (channels_of()).
using Channels = std::vector<int64_t>;

/// Adds up the elements of each channel (one, or several after a flatten of an image); of maxima takes the largest.
template <typename T>
WhyColumn column(const std::string& name, const std::vector<T>& elements, const Channels& channels, bool is_max) {
  const int64_t count = *std::max_element(channels.begin(), channels.end()) + 1;
  WhyColumn made{name, std::vector<double>(at(count), is_max ? -std::numeric_limits<double>::infinity() : 0.0),
                 std::is_same_v<T, int64_t>};
  for (size_t i = 0; i < elements.size(); ++i) {
    if (channels.at(i) < 0) continue;
    double& value = made.values[at(channels[i])];
    const auto element = static_cast<double>(elements[i]);
    value = !is_max ? value + element : (element > value || std::isnan(element) ? element : value);
  }
  return made;
}

WhySource value_source(const std::string& name, const ValueSums& sums, const Channels& channels) {
  WhySource source{name, false, sums.count, sums.samples, {}};
  for_each_sum(
      [&](const SumRow& row, const auto& elements) {
        if (elements.empty()) return;
        source.columns.push_back(column(std::string(row.name), elements, channels, row.combine == Combine::kMax));
      },
      sums);
  return source;
}

/// For each input channel of a layer: the sum of `term` over its weights (all outputs and taps).
template <typename Term>
std::vector<double> by_input(const LayerWeights& layer, const Term& term) {
  std::vector<double> sums(at(layer.input_channels()), 0.0);
  for (int64_t k = 0; k < layer.outputs; ++k) {
    for (int64_t i = 0; i < layer.inputs; ++i) {
      const int64_t c = layer.input_channel(k, i);
      for (int64_t tap = 0; tap < layer.taps; ++tap) sums[at(c)] += term(k, i, c, tap);
    }
  }
  return sums;
}

std::vector<double> weights_sq(const LayerWeights& layer) {
  return by_input(layer, [&](int64_t k, int64_t i, int64_t, int64_t tap) { return layer.at(k, i, tap) * layer.at(k, i, tap); });
}

std::vector<double> norms_sq(const LayerWeights& layer, const TapNorms& norms) {
  std::vector<double> sums(at(layer.input_channels()), 0.0);
  for (size_t i = 0; i < norms.norm_sq.size(); ++i) sums[i / at(layer.taps)] += norms.norm_sq[i];
  return sums;
}

WhySource reader_source(const Model& model, ValueId node, const TapNorms& norms, const Channels& channels) {
  const LayerWeights layer = layer_weights(model, node);
  const std::string& name = model.graph.node(node).name;
  WhySource source{name, true, 0, norms.samples, {}};
  source.columns.push_back(column("norm_sq", norms_sq(layer, norms), channels, false));
  source.columns.push_back(column("weights_sq", weights_sq(layer), channels, false));
  const auto both = [&](int64_t k, int64_t i, int64_t c, int64_t tap) {
    const double w = layer.at(k, i, tap);
    return w * w * norms.norm_sq[at(c * layer.taps + tap)];
  };
  source.columns.push_back(column("w_sq*norm_sq", by_input(layer, both), channels, false));
  return source;
}

/// Adds a column with the consumers' sums of squared weights, for the criterion that uses both a value and its consumers.
void add_consumers(const Model& model, const Group& group, ValueId value, WhySource& source) {
  std::vector<double> all(at(group.channels), 0.0);
  for (const GroupConsumer& edge : group.consumers) {
    if (watched_value(model.graph, edge.value) != value) continue;
    const Channels channels = channels_of(model.graph, group, edge.value);
    const WhyColumn one = column("", weights_sq(layer_weights(model, edge.node)), channels, false);
    for (size_t c = 0; c < all.size(); ++c) all[c] += one.values[c];
  }
  source.columns.push_back({"weights_sq", std::move(all), false});
}

std::vector<int64_t> ranks(const std::vector<double>& scores) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  std::vector<int64_t> rank(scores.size());
  for (size_t i = 0; i < order.size(); ++i) rank[order[i]] = static_cast<int64_t>(i) + 1;
  return rank;
}

std::vector<std::string> names_of(const Graph& graph, const std::vector<ValueId>& nodes) {
  std::vector<std::string> names;
  names.reserve(nodes.size());
  for (const ValueId node : nodes) names.push_back(graph.node(node).name);
  return names;
}

}  // namespace

void check_why(const std::string& name, const Model& model, const CutOptions& options) {
  if (options.weights) {
    const std::vector<std::string> layers = probes_for_weights(model.graph).tap_norms;
    if (std::find(layers.begin(), layers.end(), name) == layers.end()) {
      throw Hinted<UsageError>(Hint::kLayerNames, "'" + name + "': no layer of that name has weights that can be cut");
    }
    return;
  }
  const std::vector<Group> groups = find_groups(model.graph);
  if (!groups[find_group(model.graph, groups, name)].prunable) {
    throw UsageError("'" + name + "': its channels cannot be cut: they are the network's input or its logits, or no " +
                     "cut fits all values tied to them");
  }
}

Why why_channels(const std::string& name, const Model& dense, const Evidence& evidence, const Criterion& criterion,
                 const PrunePlan& plan, uint64_t seed) {
  const Statistics& statistics = evidence.statistics;
  const Graph& graph = dense.graph;
  const std::vector<Group> groups = find_groups(graph);
  const size_t g = find_group(graph, groups, name);
  const Group& group = groups[g];
  Why why;
  why.name = group.name;
  why.criterion = criterion.name();
  why.conv_groups = group.conv_groups;
  why.producers = names_of(graph, group.producers);
  for (const GroupConsumer& edge : group.consumers) why.readers.push_back(graph.node(edge.node).name);
  why.scores = score_channels(dense, groups, criterion, evidence, seed).at(g);
  why.rank = ranks(why.scores);
  why.of.assign(at(group.channels), 1);
  why.kept.assign(at(group.channels), 1);
  const auto cut =
      std::find_if(plan.groups.begin(), plan.groups.end(), [&](const GroupCut& c) { return c.group == group.name; });
  if (cut != plan.groups.end()) {
    why.kept.assign(at(group.channels), 0);
    for (const int64_t c : cut->keep) why.kept[at(c)] = 1;
  }
  const Probes probes = probes_for(criterion, graph, statistics.tap);
  for (const ValueId value : group.values) {
    const std::string& value_name = graph.node(value).name;
    if (!probes.values.contains(value_name)) continue;
    why.sources.push_back(value_source(value_name, statistics.values.at(value_name), channels_of(graph, group, value)));
    if (criterion.traits().weighs_consumers) add_consumers(dense, group, value, why.sources.back());
  }
  for (const GroupConsumer& edge : group.consumers) {
    const std::string& reader = graph.node(edge.node).name;
    if (std::find(probes.tap_norms.begin(), probes.tap_norms.end(), reader) != probes.tap_norms.end()) {
      why.sources.push_back(
          reader_source(dense, edge.node, statistics.tap_norms.at(reader), channels_of(graph, group, edge.value)));
    }
  }
  return why;
}

Why why_weights(const std::string& name, const Model& dense, const Statistics& statistics, const PrunePlan& plan) {
  const ValueId node = dense.graph.at(name);
  const auto norms = statistics.tap_norms.find(name);
  ELEK_CHECK(norms != statistics.tap_norms.end(), "why '" + name + "': no norms of its inputs");
  const LayerWeights layer = layer_weights(dense, node);
  const int64_t channels = layer.input_channels();
  Why why;
  why.name = name;
  why.weights = std::ssize(layer.data);
  Channels all(at(channels));
  std::iota(all.begin(), all.end(), int64_t{0});
  why.sources.push_back(reader_source(dense, node, norms->second, all));
  why.scores = why.sources.front().columns.back().values;
  for (double& score : why.scores) score = std::sqrt(score);
  why.rank = ranks(why.scores);
  why.kept.assign(at(channels), layer.outputs / layer.groups * layer.taps);
  why.of = why.kept;
  const auto cut = std::find_if(plan.weights.begin(), plan.weights.end(), [&](const WeightCut& c) { return c.node == name; });
  if (cut != plan.weights.end()) {
    const auto keep = [&](int64_t k, int64_t i, int64_t, int64_t tap) {
      return static_cast<double>(cut->keep[at((k * layer.inputs + i) * layer.taps + tap)]);
    };
    const std::vector<double> kept = by_input(layer, keep);
    for (size_t c = 0; c < kept.size(); ++c) why.kept[c] = static_cast<int64_t>(kept[c]);
  }
  return why;
}

}  // namespace elek
