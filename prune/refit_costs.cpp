// SPDX-License-Identifier: Apache-2.0
// Visits the readers in graph order along one trail. After a group's last reader the group is eliminated and its moments are
// freed. Tests: tests/prune/refit_costs_test.cpp
#include "prune/refit_costs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "prune/elimination.h"
#include "prune/groups.h"
#include "prune/layer_weights.h"
#include "prune/least_squares.h"
#include "prune/trail.h"

namespace elek {
namespace {

/// One multiply-add of the elimination (f64, matrices larger than the caches) takes about as long as this many of a
/// convolution.
constexpr double kEliminationPrice = 40;

/// A convolution or linear layer that reads a prunable group.
struct Reader {
  ValueId node = -1;
  ValueId value = -1;
  size_t group = 0;
  FitShape shape;
};

std::vector<Reader> readers_of(const Graph& graph, const std::vector<Group>& groups) {
  std::vector<Reader> readers;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].prunable) continue;
    for (const GroupConsumer& edge : groups[g].consumers) {
      if (!is_depthwise(graph, edge.node)) readers.push_back({edge.node, edge.value, g, input_shape_of(graph, edge.node)});
    }
  }
  std::sort(readers.begin(), readers.end(), [](const Reader& a, const Reader& b) { return a.node < b.node; });
  return readers;
}

size_t fit_bytes(const Graph& graph, const Reader& reader) {
  const FitShape& s = reader.shape;
  const int64_t outputs = graph.node(reader.node).shape.channels;
  return at(s.unknowns() * (s.groups * s.unknowns() + outputs)) * sizeof(double);
}

/// gamma / sqrt(var + eps) if a batch norm is the layer's only reader, otherwise ones.
std::vector<double> output_scales(const Model& model, ValueId node) {
  std::vector<double> scales(at(model.graph.node(node).shape.channels), 1.0);
  const std::vector<ValueId> reading = model.graph.consumers(node);
  if (reading.size() != 1 || !model.graph.node(reading[0]).is<BatchNormAttrs>()) return scales;
  const Node& norm = model.graph.node(reading[0]);
  const std::span<const float> gamma = model.parameter(norm.name + ".weight").f32();
  const std::span<const float> variance = model.parameter(norm.name + ".running_var").f32();
  for (size_t k = 0; k < scales.size(); ++k)
    scales[k] = double{gamma[k]} / std::sqrt(double{variance[k]} + norm.as<BatchNormAttrs>().eps);
  return scales;
}

/// Sum of gamma^2 if a batch norm makes `value`: about the value's variance, all channels together. Otherwise 0.
double norm_energy(const Model& model, ValueId value) {
  const Node& node = model.graph.node(value);
  if (!node.is<BatchNormAttrs>()) return 0;
  double energy = 0;
  for (const float gamma : model.parameter(node.name + ".weight").f32()) energy += double{gamma} * double{gamma};
  return energy;
}

/// Share of a residual sum's variance that comes through the reader's branch; 1 outside of branches and if it is not known.
/// `variance_of_value`: measured variances of values that layers read.
double share_of_sum(const Model& model, ValueId node, const std::map<ValueId, double>& variance_of_value) {
  const Graph& graph = model.graph;
  ValueId value = node;
  for (;;) {
    const std::vector<ValueId> readers = graph.consumers(value);
    if (readers.size() != 1) return 1;
    if (graph.node(readers[0]).is<AddAttrs>()) break;
    value = readers[0];
    if (value == graph.output()) return 1;
  }
  const Node& sum = graph.node(graph.consumers(value)[0]);
  double own = 0, others = 0;
  for (const ValueId operand : sum.inputs) {
    double energy = norm_energy(model, operand);
    const Node& made = graph.node(operand);
    const ValueId source = made.is<ChannelMapAttrs>() ? made.inputs.at(0) : operand;
    if (const auto known = variance_of_value.find(source); energy == 0 && known != variance_of_value.end())
      energy = known->second;
    if (energy == 0) return 1;
    (operand == value ? own : others) += energy;
  }
  return own / (own + others);
}

/// The fit of one convolution group of a reader: mean moments plus ridge; weights transposed and scaled.
ReaderFit fit_of(const Model& model, const Reader& reader, const FitMoments& moments, int64_t conv_group, double positions,
                 MemoryResource& resource) {
  const LayerWeights layer = layer_weights(model, reader.node);
  const FitShape& s = reader.shape;
  ReaderFit fit;
  fit.name = s.name;
  fit.constants = 1;
  fit.outputs = layer.outputs / layer.groups;
  fit.channels = s.input.channels / s.groups;
  fit.first = conv_group * fit.channels;
  fit.width = s.kernel * s.kernel;
  const int64_t n = s.unknowns();
  fit.moments = Buffer(at(n * n) * sizeof(double), resource, {s.name + ".inverse", Use::kMoments});
  fit.weights = Buffer(at(n * fit.outputs) * sizeof(double), resource, {s.name + ".fit", Use::kMoments});
  auto* a = static_cast<double*>(fit.moments.data());
  const std::span<const double> sums = moments.second_moments(conv_group);
  std::transform(sums.begin(), sums.end(), a, [&](double sum) { return sum / positions; });
  auto* w = static_cast<double*>(fit.weights.data());
  const std::vector<double> scales = output_scales(model, reader.node);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t k = 0; k < fit.outputs; ++k) {
      const int64_t row = conv_group * fit.outputs + k;
      w[i * fit.outputs + k] = i == s.columns() ? 0.0 : scales[at(row)] * double{layer.data[at(row * s.columns() + i)]};
    }
  }
  return fit;
}

/// Variance of the reader's input value, all channels together, taken from the middle taps of its columns.
double input_variance(const Reader& reader, const FitMoments& moments, double positions) {
  const FitShape& s = reader.shape;
  const int64_t n = s.unknowns(), taps = s.kernel * s.kernel;
  double total = 0;
  for (int64_t conv_group = 0; conv_group < s.groups; ++conv_group) {
    const double* a = moments.second_moments(conv_group).data();
    for (int64_t i = taps / 2; i < s.columns(); i += taps) {
      const double mean = a[i * n + n - 1] / positions;
      total += a[i * n + i] / positions - mean * mean;
    }
  }
  return total;
}

/// Variance of the fits' outputs, all together: sum over k of w_k' (A - m m') w_k, where m is the mean column. Summed row by
/// row, so that the order does not depend on the threads.
double variance_of(const std::vector<ReaderFit>& fits, int threads) {
  double total = 0;
  for (const ReaderFit& fit : fits) {
    const int64_t n = fit.columns(), last = n - 1;
    const auto* a = static_cast<const double*>(fit.moments.data());
    const auto* w = static_cast<const double*>(fit.weights.data());
    std::vector<double> parts(at(last));
    std::vector<std::vector<double>> scratch(at(threads), std::vector<double>(at(fit.outputs)));
    run_tasks(last, threads, [&](int64_t i, int thread) {
      std::vector<double>& sums = scratch[at(thread)];
      std::fill(sums.begin(), sums.end(), 0.0);
      for (int64_t j = i; j < last; ++j) {
        const double covariance = (i == j ? 1 : 2) * (a[i * n + j] - a[i * n + last] * a[j * n + last]);
        for (int64_t k = 0; k < fit.outputs; ++k) sums[at(k)] += covariance * w[j * fit.outputs + k];
      }
      for (int64_t k = 0; k < fit.outputs; ++k) parts[at(i)] += sums[at(k)] * w[i * fit.outputs + k];
    });
    total = std::accumulate(parts.begin(), parts.end(), total);
  }
  return total;
}

void load_diagonal(ReaderFit& fit, double ridge) {
  const int64_t n = fit.columns();
  auto* a = static_cast<double*>(fit.moments.data());
  double mean = 0;
  for (int64_t i = 0; i < n - 1; ++i) mean += a[i * n + i] / static_cast<double>(n - 1);
  for (int64_t i = 0; i < n - 1; ++i) a[i * n + i] += mean > 0 ? ridge * mean : 1;
}

/// One pass over the images. Returns the reader's fits, scaled so that costs are shares of the variance of its outputs.
std::vector<ReaderFit> gather(const Model& model, const Reader& reader, Trail& trail, int threads, double ridge,
                              std::map<ValueId, double>& variances, const std::function<void(int64_t)>& progress,
                              MemoryResource& resource) {
  FitMoments moments(reader.shape, false, threads, resource);
  int64_t samples = 0;
  const std::array<PassOutput, 1> outputs{PassOutput{&model, 0, reader.value}};
  trail.pass(outputs, [&](int64_t count, std::span<const std::span<const float>> values) {
    moments.add(values[0], {}, count);
    samples += count;
    progress(count);
  });
  const double positions =
      static_cast<double>(samples) * static_cast<double>(reader.shape.output_height() * reader.shape.output_width());
  std::vector<ReaderFit> fits;
  for (int64_t conv_group = 0; conv_group < reader.shape.groups; ++conv_group)
    fits.push_back(fit_of(model, reader, moments, conv_group, positions, resource));
  const double variance = variance_of(fits, threads);
  if (!std::isfinite(variance)) {
    throw InputError(
        "refit costs of '" + reader.shape.name +
        "': its inputs have NaN or infinite values; check that the calibration images are what the network expects");
  }
  variances.try_emplace(reader.value, input_variance(reader, moments, positions));
  const double share = share_of_sum(model, reader.node, variances);
  const double scale = variance > 0 ? std::sqrt(share / variance) : 1;
  for (ReaderFit& fit : fits) {
    auto* w = static_cast<double*>(fit.weights.data());
    for (int64_t i = 0; i < fit.columns() * fit.outputs; ++i) w[i] *= scale;
    load_diagonal(fit, ridge);
  }
  return fits;
}

bool is_last_of_group(const std::vector<Reader>& readers, size_t r) {
  return std::none_of(readers.begin() + static_cast<int64_t>(r) + 1, readers.end(),
                      [&](const Reader& other) { return other.group == readers[r].group; });
}

size_t most_moments_bytes(const Graph& graph, const std::vector<Reader>& readers, int threads) {
  size_t most = 0;
  std::map<size_t, size_t> open;  // bytes of each group's fits so far
  for (size_t r = 0; r < readers.size(); ++r) {
    size_t now = FitMoments::bytes(readers[r].shape, false, threads);
    open[readers[r].group] += fit_bytes(graph, readers[r]);
    for (const auto& [group, bytes] : open) now += bytes;
    most = std::max(most, now);
    if (is_last_of_group(readers, r)) open.erase(readers[r].group);
  }
  return most;
}

/// MACs to remove all columns of all convolution groups; each removal updates the upper half of H, and W.
double elimination_macs_of(const Graph& graph, const Reader& reader) {
  const FitShape& s = reader.shape;
  const auto n = static_cast<double>(s.unknowns());
  const int64_t each = graph.node(reader.node).shape.channels / s.groups;
  const auto outputs = static_cast<double>(each);
  return static_cast<double>(s.groups) * n * n * (n / 4 + outputs / 2);
}

}  // namespace

RefitCostsPlan plan_refit_costs(const Graph& graph, const std::vector<Group>& groups, int threads, int64_t samples,
                                size_t checkpoint_bytes) {
  const std::vector<Reader> readers = readers_of(graph, groups);
  std::vector<ValueId> inputs;
  inputs.reserve(readers.size());
  for (const Reader& reader : readers) inputs.push_back(reader.value);
  RefitCostsPlan plan;
  plan.layers = std::ssize(readers);
  plan.moments_bytes = most_moments_bytes(graph, readers, threads);
  plan.kept = plan_kept_values({&graph}, inputs, samples, checkpoint_bytes);
  ValueId from = -1;
  for (size_t r = 0; r < readers.size(); ++r) {
    const ValueId now = plan.kept.from[r];
    plan.macs_an_image += static_cast<double>(macs_between(graph, now, inputs[r])) + readers[r].shape.product_macs();
    if (now != from) plan.macs_an_image += static_cast<double>(macs_between(graph, from, now));
    plan.elimination_macs += elimination_macs_of(graph, readers[r]);
    from = now;
  }
  const double all =
      static_cast<double>(std::max<int64_t>(1, samples)) * static_cast<double>(std::max<int64_t>(1, macs(graph)));
  plan.dense_passes = (plan.macs_an_image * static_cast<double>(samples) + kEliminationPrice * plan.elimination_macs) / all;
  return plan;
}

std::vector<std::vector<double>> refit_costs(const Model& model, const std::vector<Group>& groups, BatchSource& calibration,
                                             const SessionOptions& options, const Progress& progress, const RefitOptions& how) {
  const int threads = thread_count(options.threads);
  const bool on_host = options.memory != nullptr && is_host(options.memory->device());
  MemoryResource& resource = on_host ? *options.memory : host_resource();
  const int64_t images = calibration.samples();
  if (images == 0) throw InputError("refit costs: '" + calibration.description() + "' has no sample");
  const std::vector<Reader> readers = readers_of(model.graph, groups);
  const KeptValues kept =
      plan_refit_costs(model.graph, groups, threads, images, starts_from_values(options.device) ? how.checkpoint_bytes : 0)
          .kept;
  Trail trail(calibration, options, kept.floats, resource);
  std::map<ValueId, double> variances;
  std::vector<std::vector<double>> scores(groups.size());
  std::vector<std::vector<ReaderFit>> fits(groups.size());
  const int64_t total = std::ssize(readers) * images;
  int64_t done = 0;
  for (size_t r = 0; r < readers.size(); ++r) {
    const Reader& reader = readers[r];
    if (kept.from[r] != trail.at()) trail.advance(std::array<const Model*, 1>{&model}, kept.from[r]);
    std::vector<ReaderFit> made = gather(
        model, reader, trail, threads, how.ridge, variances,
        [&](int64_t count) {
          done += count;
          if (progress) progress(done, total);
        },
        resource);
    const int64_t width = spread(model.graph, groups[reader.group], reader.value);
    for (ReaderFit& fit : made) {  // the columns of a flattened channel are neighbours
      fit.channels /= width;
      fit.first /= width;
      fit.width *= width;
      fits[reader.group].push_back(std::move(fit));
    }
    if (!is_last_of_group(readers, r)) continue;
    scores[reader.group] = eliminate_channels(fits[reader.group], groups[reader.group].channels, threads).costs;
    fits[reader.group].clear();
  }
  for (size_t g = 0; g < groups.size(); ++g) {  // prunable, but no reader mixes its channels
    if (groups[g].prunable && scores[g].empty()) scores[g].assign(at(groups[g].channels), 0.0);
  }
  return scores;
}

}  // namespace elek
