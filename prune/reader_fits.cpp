// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/refit_costs_test.cpp, tests/prune/concat_test.cpp
#include "prune/reader_fits.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/at.h"
#include "core/error.h"
#include "prune/groups.h"
#include "prune/layer_weights.h"
#include "prune/least_squares.h"
#include "prune/refit.h"

namespace elek {
namespace {

/// gamma / sqrt(var + eps) if a batch norm is the layer's only reader, otherwise ones.
std::vector<double> output_scales(const Model& model, ValueId node) {
  const std::vector<ValueId> reading = model.graph.consumers(node);
  const bool normed = reading.size() == 1 && model.graph.node(reading[0]).is<BatchNormAttrs>();
  return normed ? norm_factors(model, reading[0]) : std::vector<double>(at(model.graph.node(node).shape.channels), 1.0);
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
    if (graph.node(readers[0]).is<ConcatAttrs>()) return 1;
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
  fit.width = s.kernel.area();
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
  const int64_t n = s.unknowns(), taps = s.kernel.area();
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

/// The fit's columns in the order in which the group's elimination needs them.
std::vector<int64_t> columns_for(const Group& group, const Reader& reader, int64_t columns) {
  const int64_t taps = reader.shape.kernel.area();
  std::vector<int64_t> order;
  std::vector<bool> taken(at(columns), false);
  for (int64_t c = 0; c < group.channels; ++c) {
    for (const GroupSegment& segment : segments_in(group, reader.value)) {
      const int64_t width = segment.count / group.channels * taps;
      for (int64_t i = 0; i < width; ++i) {
        order.push_back(segment.first * taps + c * width + i);
        taken[at(order.back())] = true;
      }
    }
  }
  for (int64_t i = 0; i < columns; ++i) {
    if (!taken[at(i)]) order.push_back(i);
  }
  return order;
}

/// Columns of one channel of the group in the reader's fit.
int64_t width_of(const Group& group, const Reader& reader) {
  int64_t width = 0;
  for (const GroupSegment& segment : segments_in(group, reader.value)) width += segment.count / group.channels;
  return width * reader.shape.kernel.area();
}

}  // namespace

std::vector<Reader> readers_of(const Graph& graph, const std::vector<Group>& groups) {
  std::map<ValueId, Reader> readers;  // by node
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].prunable) continue;
    for (const GroupConsumer& edge : groups[g].consumers) {
      if (is_depthwise(graph, edge.node)) continue;
      Reader& reader = readers[edge.node];
      const bool alone = segments_in(groups[g], edge.value).front().count == graph.node(edge.value).shape.channels;
      if (reader.node < 0) reader = {edge.node, edge.value, input_shape_of(graph, edge.node), {}, !alone};
      reader.groups.push_back(g);
    }
  }
  std::vector<Reader> all;
  all.reserve(readers.size());
  for (auto& [node, reader] : readers) all.push_back(std::move(reader));
  return all;
}

size_t fit_bytes(const Graph& graph, const Reader& reader) {
  const FitShape& s = reader.shape;
  const int64_t outputs = graph.node(reader.node).shape.channels;
  return at(s.unknowns() * (s.groups * s.unknowns() + outputs)) * sizeof(double);
}

double elimination_macs_of(const Graph& graph, const Reader& reader, const Group& group) {
  const FitShape& s = reader.shape;
  const auto n = static_cast<double>(s.unknowns());
  const double removed = reader.shared ? static_cast<double>(group.channels * width_of(group, reader)) : n;
  const int64_t each = graph.node(reader.node).shape.channels / s.groups;
  return static_cast<double>(s.groups) * removed * (n - removed / 2) * (n / 2 + static_cast<double>(each));
}

std::vector<ReaderFit> fits_of(const Model& model, const Reader& reader, const FitMoments& moments, int64_t samples,
                               int threads, double ridge, std::map<ValueId, double>& variances, MemoryResource& resource) {
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

void count_in_channels(const Group& group, const Reader& reader, ReaderFit& fit) {
  const int64_t width = segments_in(group, reader.value).front().count / group.channels;
  fit.channels /= width;
  fit.first /= width;
  fit.width *= width;
}

ReaderFit copy_for_group(const Group& group, const Reader& reader, const ReaderFit& fit, MemoryResource& resource) {
  const int64_t n = fit.columns();
  const std::vector<int64_t> from = columns_for(group, reader, n);
  ReaderFit made;
  made.name = fit.name;
  made.channels = group.channels;
  made.width = width_of(group, reader);
  made.constants = n - made.channels * made.width;
  made.outputs = fit.outputs;
  made.moments = Buffer(fit.moments.bytes(), resource, {fit.name + ".inverse", Use::kMoments});
  made.weights = Buffer(fit.weights.bytes(), resource, {fit.name + ".fit", Use::kMoments});
  const auto* a = static_cast<const double*>(fit.moments.data());
  const auto* w = static_cast<const double*>(fit.weights.data());
  auto* to = static_cast<double*>(made.moments.data());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) {
      const auto [low, high] = std::minmax(from[at(i)], from[at(j)]);
      to[i * n + j] = a[low * n + high];
    }
    std::copy_n(w + from[at(i)] * fit.outputs, fit.outputs, static_cast<double*>(made.weights.data()) + i * fit.outputs);
  }
  return made;
}

}  // namespace elek
