// SPDX-License-Identifier: Apache-2.0
// Every criterion sums squares over the values and consumers of a group and takes one root at the end (docs/criteria.md); all
// in double, in graph order, so that the same statistics give the same scores to the bit.
// Tests: tests/prune/score_test.cpp
#include "prune/score.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "graph/passes.h"
#include "prune/layer_weights.h"

namespace elek {
namespace {

constexpr std::array<std::pair<Criterion, const char*>, 14> kNames{{{Criterion::kStdConsumer, "std-consumer"},
                                                                    {Criterion::kPositions, "positions"},
                                                                    {Criterion::kRms, "rms"},
                                                                    {Criterion::kStd, "std"},
                                                                    {Criterion::kFrequency, "frequency"},
                                                                    {Criterion::kNormalizedMean, "normalized_mean"},
                                                                    {Criterion::kMeanAbsolute, "mean_absolute"},
                                                                    {Criterion::kCombined, "combined"},
                                                                    {Criterion::kWanda, "wanda"},
                                                                    {Criterion::kWandaSeed, "wanda-seed"},
                                                                    {Criterion::kMagnitude, "magnitude"},
                                                                    {Criterion::kMagnitudeL1, "magnitude-l1"},
                                                                    {Criterion::kRandom, "random"},
                                                                    {Criterion::kRefit, "refit"}}};

size_t at(int64_t i) { return static_cast<size_t>(i); }

bool all_finite(const std::vector<double>& values) {
  return std::all_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
}

/// What score_channels sums over; adds into squares[c], c a channel of the group.
using Squares = std::vector<double>;

double variance(const ValueSums& sums, size_t c) {
  const double n = static_cast<double>(sums.count);
  const double mean = sums.sum[c] / n;
  return std::max(0.0, sums.sum_sq[c] / n - mean * mean);  // rounding may leave a constant channel just below zero
}

/// mean_n m_n over the layer's largest m_n, all channels and samples; 0 where that is not positive. Below 0 on raw convolutions
/// whose mean is.
double normalized_mean(const ValueSums& sums, size_t c) {
  const double peak = *std::max_element(sums.mean_peak.begin(), sums.mean_peak.end());
  return peak > 0 ? sums.mean_sum[c] / static_cast<double>(sums.samples) / peak : 0.0;
}

/// One channel's score in one watched value.
double value_score(Criterion criterion, const ValueSums& sums, size_t c) {
  const double n = static_cast<double>(sums.count);
  const double frequency = sums.fired.empty() ? 0 : static_cast<double>(sums.fired[c]) / static_cast<double>(sums.samples);
  switch (criterion) {
    case Criterion::kPositions:
      return static_cast<double>(sums.active[c]) / n;
    case Criterion::kRms:
      return std::sqrt(sums.sum_sq[c] / n);
    case Criterion::kFrequency:
      return frequency;
    case Criterion::kNormalizedMean:
      return normalized_mean(sums, c);
    case Criterion::kMeanAbsolute:
      return sums.abs_sum[c] / n;
    case Criterion::kCombined:
      return std::sqrt(std::max(0.0, normalized_mean(sums, c) * frequency));
    default:
      return std::sqrt(variance(sums, c));
  }
}

/// Which sums value_score() reads.
uint32_t sums_of(Criterion criterion) {
  switch (criterion) {
    case Criterion::kFrequency:
    case Criterion::kNormalizedMean:
    case Criterion::kCombined:
      return kPerSample;
    case Criterion::kMeanAbsolute:
      return kAbsolute;
    default:
      return kActivity;
  }
}

/// Squares keep their sign, so that a group of one value scores exactly as that value does, negative scores too.
void add_taps(const Model& model, const Group& group, Criterion criterion, const Statistics& statistics, Squares& squares) {
  for (const ValueId tap : group.taps) {
    const int64_t width = spread(model.graph, group, tap);
    const ValueSums& sums = statistics.values.at(model.graph.node(watched_value(model.graph, tap)).name);
    for (int64_t c = 0; c < group.channels * width; ++c) {
      const double score = value_score(criterion, sums, at(c));
      squares[at(c / width)] += score * std::fabs(score);
    }
  }
}

/// Per input channel of the layer: sum over rows and taps of w^2 * factor(channel, tap).
template <typename Factor>
std::vector<double> column_squares(const LayerWeights& layer, const Factor& factor) {
  std::vector<double> squares(at(layer.input_channels()), 0.0);
  for (int64_t k = 0; k < layer.outputs; ++k) {
    for (int64_t i = 0; i < layer.inputs; ++i) {
      const int64_t c = layer.input_channel(k, i);
      for (int64_t tap = 0; tap < layer.taps; ++tap) {
        const double w = layer.at(k, i, tap);
        squares[at(c)] += w * w * factor(c, tap);
      }
    }
  }
  return squares;
}

/// Folds a layer's input channels (a linear layer behind a flattened image has H*W of them a channel) into the group's.
void add_columns(const std::vector<double>& columns, Squares& squares) {
  const size_t width = columns.size() / squares.size();
  for (size_t i = 0; i < columns.size(); ++i) squares[i / width] += columns[i];
}

void add_std_consumer(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) {
  for (const GroupConsumer& edge : group.consumers) {
    const ValueSums& sums = statistics.values.at(model.graph.node(watched_value(model.graph, edge.value)).name);
    const LayerWeights layer = layer_weights(model, edge.node);
    std::vector<double> columns = column_squares(layer, [](int64_t, int64_t) { return 1.0; });
    for (size_t i = 0; i < columns.size(); ++i) columns[i] *= variance(sums, i);
    add_columns(columns, squares);
  }
}

void add_wanda(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) {
  for (const GroupConsumer& edge : group.consumers) {
    const TapNorms& norms = statistics.tap_norms.at(model.graph.node(edge.node).name);
    const LayerWeights layer = layer_weights(model, edge.node);
    add_columns(column_squares(layer, [&](int64_t c, int64_t tap) { return norms.norm_sq[at(c * layer.taps + tap)]; }),
                squares);
  }
}

void add_magnitude(const Model& model, const Group& group, Squares& squares) {
  for (const ValueId producer : group.producers) {
    const LayerWeights layer = layer_weights(model, producer);
    const int64_t width = layer.outputs / group.channels;
    for (int64_t k = 0; k < layer.outputs; ++k) {
      for (int64_t j = 0; j < layer.columns(); ++j) {
        const double w = static_cast<double>(layer.data[at(k * layer.columns() + j)]);
        squares[at(k / width)] += w * w;
      }
    }
  }
  for (const GroupConsumer& edge : group.consumers) {
    if (is_depthwise(model.graph, edge.node)) continue;  // its filters were counted as a producer's rows
    add_columns(column_squares(layer_weights(model, edge.node), [](int64_t, int64_t) { return 1.0; }), squares);
  }
}

/// The value that is stored of what a convolution or linear layer makes: batch norm, sum and ReLU drawn in.
std::map<std::string, std::string> stored_values(const Graph& graph) {
  std::map<std::string, std::string> stored;
  for (const FusedNode& step : fuse(graph).steps) {
    stored[step.node.name] = graph.node(watched_value(graph, step.output)).name;
  }
  return stored;
}

/// (L2 norm of the producer's weights of the channel * |mean of its stored value|)^2, over producers.
void add_wanda_seed(const Model& model, const Group& group, const Statistics& statistics, Squares& squares) {
  const std::map<std::string, std::string> stored = stored_values(model.graph);
  for (const ValueId producer : group.producers) {
    const ValueSums& sums = statistics.values.at(stored.at(model.graph.node(producer).name));
    const LayerWeights layer = layer_weights(model, producer);
    const int64_t width = layer.outputs / group.channels;
    for (int64_t k = 0; k < layer.outputs; ++k) {
      double norm_sq = 0;
      for (int64_t j = 0; j < layer.columns(); ++j) {
        const double w = static_cast<double>(layer.data[at(k * layer.columns() + j)]);
        norm_sq += w * w;
      }
      const double mean = sums.sum[at(k)] / static_cast<double>(sums.count);
      squares[at(k / width)] += norm_sq * mean * mean;
    }
  }
}

/// Sum of |w| over every coupled weight, squared, as the caller takes the root.
void add_magnitude_l1(const Model& model, const Group& group, Squares& squares) {
  const auto add = [&](const LayerWeights& layer, const std::function<int64_t(int64_t, int64_t)>& channel) {
    for (int64_t k = 0; k < layer.outputs; ++k) {
      for (int64_t j = 0; j < layer.columns(); ++j) {
        squares[at(channel(k, j))] += std::fabs(static_cast<double>(layer.data[at(k * layer.columns() + j)]));
      }
    }
  };
  for (const ValueId producer : group.producers) {
    const LayerWeights layer = layer_weights(model, producer);
    add(layer, [width = layer.outputs / group.channels](int64_t k, int64_t) { return k / width; });
  }
  for (const GroupConsumer& edge : group.consumers) {
    if (is_depthwise(model.graph, edge.node)) continue;  // its filters were counted as a producer's rows
    const LayerWeights layer = layer_weights(model, edge.node);
    const int64_t width = layer.input_channels() / group.channels;
    add(layer, [&, width](int64_t k, int64_t j) { return layer.input_channel(k, j / layer.taps) / width; });
  }
  for (double& sum : squares) sum *= sum;
}

std::vector<double> random_scores(const Group& group, uint64_t seed) {
  Random random(hash_bytes(group.name.data(), group.name.size(), kHashSeed ^ seed));
  std::vector<double> scores(at(group.channels));
  for (double& score : scores) score = random.uniform();
  return scores;
}

const std::string kRetake = "; take the statistics again with this model and criterion";

void check_value(const Graph& graph, const std::string& name, uint32_t wanted, const Statistics& statistics) {
  const auto found = statistics.values.find(name);
  if (found == statistics.values.end()) throw InputError("statistics: no sums of value '" + name + "'" + kRetake);
  const ValueSums& sums = found->second;
  const int64_t channels = graph.node(graph.at(name)).shape.channels;
  int64_t held = channels;  // how many channels the sums that are wanted hold, where not all
  const auto look = [&](uint32_t set, const auto&... vectors) {
    for (const int64_t size : {std::ssize(vectors)...}) {
      if ((wanted & set) != 0 && size != channels) held = size;
    }
  };
  look(kActivity, sums.sum, sums.sum_sq, sums.active);
  look(kAbsolute, sums.abs_sum);
  look(kPerSample, sums.fired, sums.mean_sum, sums.mean_peak);
  if (sums.channels != channels || held != channels) {
    throw InputError("statistics: value '" + name + "' holds sums of " + std::to_string(held) + " of " +
                     std::to_string(sums.channels) + " channels, expected " + std::to_string(channels) + kRetake);
  }
  if (sums.count <= 0) throw InputError("statistics: value '" + name + "' holds no sample" + kRetake);
  if (sums.nonfinite != 0 || !all_finite(sums.sum) || !all_finite(sums.sum_sq) || !all_finite(sums.abs_sum) ||
      !all_finite(sums.mean_sum) || !all_finite(sums.mean_peak)) {
    throw InputError(
        "statistics: value '" + name + "' held " + std::to_string(sums.nonfinite) +
        " NaN or infinite activations (or its sums overflowed); look for the layer before it that makes them, or " +
        "for images that are not what the network expects");
  }
}

void check_norms(const Model& model, const std::string& name, const Statistics& statistics) {
  const auto found = statistics.tap_norms.find(name);
  if (found == statistics.tap_norms.end()) throw InputError("statistics: no tap norms of layer '" + name + "'" + kRetake);
  const TapNorms& norms = found->second;
  const LayerWeights layer = layer_weights(model, model.graph.at(name));
  const int64_t expected = layer.input_channels() * layer.taps;
  if (std::ssize(norms.norm_sq) != expected) {
    throw InputError("statistics: layer '" + name + "' holds " + std::to_string(norms.norm_sq.size()) +
                     " tap norms, expected " + std::to_string(expected) + kRetake);
  }
  if (norms.samples <= 0) throw InputError("statistics: layer '" + name + "' holds no sample" + kRetake);
  const bool negative = std::any_of(norms.norm_sq.begin(), norms.norm_sq.end(), [](double v) { return v < 0; });
  if (!all_finite(norms.norm_sq) || negative) {
    throw InputError("statistics: tap norms of layer '" + name + "' are not all finite and >= 0: its input held NaN or " +
                     "infinite activations; look for the layer before it that makes them");
  }
}

}  // namespace

Criterion criterion_from_name(const std::string& name) {
  std::string names;
  for (const auto& [criterion, text] : kNames) {
    if (name == text) return criterion;
    names += std::string(names.empty() ? "" : ", ") + text;
  }
  throw UsageError("unknown criterion '" + name + "'; there are " + names);
}

std::vector<Criterion> all_criteria() {
  std::vector<Criterion> all;
  all.reserve(std::size(kNames));
  for (const auto& [criterion, text] : kNames) all.push_back(criterion);
  return all;
}

std::string name_of(Criterion criterion) {
  for (const auto& [known, text] : kNames) {
    if (known == criterion) return text;
  }
  throw ContractError("criterion " + std::to_string(static_cast<int>(criterion)) + " has no name");
}

ValueId watched_value(const Graph& graph, ValueId value) {
  while (graph.node(value).is<FlattenAttrs>()) {
    const ValueId source = graph.node(value).inputs.at(0);
    if (graph.node(source).shape.positions() != 1) break;
    value = source;
  }
  return value;
}

Probes probes_for(Criterion criterion, const Graph& graph, Tap tap) {
  const bool reads = criterion == Criterion::kStdConsumer || criterion == Criterion::kWanda;
  if (reads && tap != Tap::kRelu) {
    throw UsageError(name_of(criterion) +
                     " looks at what layers read, which is the tap relu; raw convolutions (--tap conv) go " +
                     "with positions, frequency, rms and their like");
  }
  Probes probes;
  probes.tap = tap;
  if (criterion == Criterion::kMagnitude || criterion == Criterion::kMagnitudeL1 || criterion == Criterion::kRandom ||
      criterion == Criterion::kRefit)
    return probes;
  const std::map<std::string, std::string> stored = stored_values(graph);
  for (const Group& group : find_groups(graph)) {
    if (!group.prunable) continue;
    if (criterion == Criterion::kStdConsumer) {
      for (const GroupConsumer& edge : group.consumers)
        probes.values[graph.node(watched_value(graph, edge.value)).name] |= kActivity;
    } else if (criterion == Criterion::kWanda) {
      for (const GroupConsumer& edge : group.consumers) probes.tap_norms.push_back(graph.node(edge.node).name);
    } else if (criterion == Criterion::kWandaSeed) {
      for (const ValueId producer : group.producers) probes.values[stored.at(graph.node(producer).name)] |= kActivity;
    } else {
      for (const ValueId t : group.taps) probes.values[graph.node(watched_value(graph, t)).name] |= sums_of(criterion);
    }
  }
  return probes;
}

Probes probes_for_weights(const Graph& graph) {
  Probes probes;
  const std::vector<Group> groups = find_groups(graph);
  for (const Group& group : groups) {
    for (const GroupConsumer& edge : group.consumers) {
      if (!is_classifier(graph, groups, edge.node)) probes.tap_norms.push_back(graph.node(edge.node).name);
    }
  }
  return probes;
}

void check_statistics(const Model& model, const Statistics& statistics, const Probes& probes) {
  if (probes.empty()) return;
  if (const uint64_t expected = hash(model); statistics.model_hash != expected) {
    throw InputError("statistics: taken from model " + to_hex(statistics.model_hash) + ", this model is " + to_hex(expected) +
                     kRetake);
  }
  for (const auto& [name, sums] : probes.values) check_value(model.graph, name, sums, statistics);
  for (const std::string& name : probes.tap_norms) check_norms(model, name, statistics);
}

std::vector<std::vector<double>> score_channels(const Model& model, const std::vector<Group>& groups, Criterion criterion,
                                                const Statistics& statistics, uint64_t seed) {
  if (criterion == Criterion::kStdConsumer && statistics.tap != Tap::kRelu) {
    throw InputError("statistics: taken on raw convolutions (tap conv); std-consumer needs the values that layers read: take " +
                     std::string("them again with --tap relu"));
  }
  ELEK_CHECK(criterion != Criterion::kRefit, "score_channels: the metric refit is no score of statistics; see refit_costs()");
  check_statistics(model, statistics, probes_for(criterion, model.graph));
  std::vector<std::vector<double>> scores(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g];
    if (!group.prunable) continue;
    if (criterion == Criterion::kRandom) {
      scores[g] = random_scores(group, seed);
      continue;
    }
    Squares squares(at(group.channels), 0.0);
    switch (criterion) {
      case Criterion::kStdConsumer:
        add_std_consumer(model, group, statistics, squares);
        break;
      case Criterion::kWanda:
        add_wanda(model, group, statistics, squares);
        break;
      case Criterion::kWandaSeed:
        add_wanda_seed(model, group, statistics, squares);
        break;
      case Criterion::kMagnitudeL1:
        add_magnitude_l1(model, group, squares);
        break;
      case Criterion::kMagnitude:
        add_magnitude(model, group, squares);
        break;
      default:
        add_taps(model, group, criterion, statistics, squares);
        break;
    }
    for (double& square : squares) square = std::copysign(std::sqrt(std::fabs(square)), square);
    scores[g] = std::move(squares);
  }
  return scores;
}

}  // namespace elek
