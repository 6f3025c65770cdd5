// SPDX-License-Identifier: Apache-2.0
// Sums each layer's products by output and by input channel first, because a layer's weights belong to several groups.
// Tests: tests/prune/gradient_importance_test.cpp
#include "prune/gradient_importance.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "core/threads.h"
#include "prune/groups.h"
#include "prune/layer_weights.h"

namespace elek {
namespace {

/// The products gradient * weight of one layer, by output and by input channel.
struct LayerProducts {
  const train::Parameter* weight = nullptr;
  const train::Parameter* bias = nullptr;  // null: the layer has none
  LayerWeights shape;
  std::vector<double> rows;     // [outputs], with the bias
  std::vector<double> columns;  // [input channels]

  void add_up() {
    std::ranges::fill(columns, 0.0);
    size_t i = 0;
    for (int64_t k = 0; k < shape.outputs; ++k) {
      double row = bias != nullptr ? double{bias->values[at(k)]} * double{bias->gradient[at(k)]} : 0.0;
      for (int64_t c = 0; c < shape.inputs; ++c) {
        double taps = 0;
        for (int64_t tap = 0; tap < shape.taps; ++tap, ++i) taps += double{weight->values[i]} * double{weight->gradient[i]};
        row += taps;
        columns[at(shape.input_channel(k, c))] += taps;
      }
      rows[at(k)] = row;
    }
  }
  [[nodiscard]] bool is_finite() const {
    return std::ranges::all_of(rows, [](double v) { return std::isfinite(v); });
  }
};

/// Products of a layer that belong to a group's channels.
struct Part {
  size_t layer = 0;
  bool rows = false;              // else columns
  std::vector<int64_t> channels;  // of the group, or -1
};

class Importance {
 public:
  Importance(const Model& model, const std::vector<Group>& groups, int threads)
      : model_(model), groups_(groups), threads_(threads), sums_(groups.size()) {
    for (size_t g = 0; g < groups.size(); ++g) {
      if (groups[g].prunable) sums_[g].assign(at(groups[g].channels), 0.0);
    }
  }

  void add(const train::Gradient& gradient, const std::string& metric, const std::string& images) {
    if (layers_.empty()) bind(gradient.parameters);
    for_parts(threads_, [&](int part) {
      for (size_t l = at(part); l < layers_.size(); l += at(threads_)) layers_[l].add_up();
    });
    for (const LayerProducts& layer : layers_) {
      if (layer.is_finite()) continue;
      throw InputError("metric " + metric + ": the gradient of '" + layer.weight->name + "' is NaN or infinite on images " +
                       std::to_string(gradient.first) + " to " + std::to_string(gradient.first + gradient.images - 1) +
                       " of '" + images + "'; check the model's weights, and that the images are what the network expects");
    }
    for (size_t g = 0; g < groups_.size(); ++g) add_group(g, static_cast<double>(gradient.images));
    images_ += gradient.images;
  }

  [[nodiscard]] Scores mean() && {
    for (std::vector<double>& group : sums_) {
      for (double& sum : group) sum /= static_cast<double>(images_);
    }
    return std::move(sums_);
  }

 private:
  void add_group(size_t g, double images) {
    if (!groups_[g].prunable) return;
    std::vector<double> products(sums_[g].size(), 0.0);
    for (const Part& part : parts_[g]) {
      const std::vector<double>& from = part.rows ? layers_[part.layer].rows : layers_[part.layer].columns;
      for (size_t i = 0; i < from.size(); ++i) {
        if (part.channels[i] >= 0) products[at(part.channels[i])] += from[i];
      }
    }
    for (size_t c = 0; c < products.size(); ++c) sums_[g][c] += images * products[c] * products[c];
  }

  /// Finds the parameters of every layer, and the layers of every group.
  void bind(std::span<const train::Parameter> parameters) {
    std::map<std::string, const train::Parameter*> by_name;
    for (const train::Parameter& p : parameters) by_name[p.name] = &p;
    parts_.resize(groups_.size());
    for (size_t g = 0; g < groups_.size(); ++g) {
      const Group& group = groups_[g];
      if (!group.prunable) continue;
      for (const ValueId node : group.producers) {
        parts_[g].push_back({layer_of(node, by_name), true, channels_of(model_.graph, group, node)});
      }
      for (const GroupConsumer& edge : group.consumers) {
        if (is_depthwise(model_.graph, edge.node)) continue;  // its filters are rows of a producer
        parts_[g].push_back({layer_of(edge.node, by_name), false, channels_of(model_.graph, group, edge.value)});
      }
    }
  }

  size_t layer_of(ValueId node, const std::map<std::string, const train::Parameter*>& by_name) {
    const auto [found, is_new] = layer_of_.emplace(node, layers_.size());
    if (!is_new) return found->second;
    const std::string& name = model_.graph.node(node).name;
    LayerProducts layer;
    layer.weight = by_name.at(name + ".weight");
    if (const auto bias = by_name.find(name + ".bias"); bias != by_name.end()) layer.bias = bias->second;
    layer.shape = layer_weights(model_, node);
    layer.rows.resize(at(layer.shape.outputs));
    layer.columns.resize(at(layer.shape.input_channels()));
    layers_.push_back(std::move(layer));
    return found->second;
  }

  const Model& model_;
  const std::vector<Group>& groups_;
  const int threads_;
  std::vector<LayerProducts> layers_;  // those of prunable groups
  std::map<ValueId, size_t> layer_of_;
  std::vector<std::vector<Part>> parts_;  // by group
  Scores sums_;
  int64_t images_ = 0;
};

}  // namespace

Scores gradient_importance(const Model& model, const std::vector<Group>& groups, BatchSource& images,
                           const train::GradientOptions& options, const std::string& metric, const Progress& progress) {
  Importance importance(model, groups, options.threads > 0 ? options.threads : default_threads());
  train::for_each_gradient(
      model, images, options, [&](const train::Gradient& g) { importance.add(g, metric, images.description()); }, progress);
  return std::move(importance).mean();
}

Scores costs_in_order(const Scores& importance) {
  Scores costs = importance;
  for (std::vector<double>& group : costs) {
    std::vector<size_t> order(group.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return group[a] < group[b]; });
    double total = 0;
    for (const size_t c : order) group[c] = total += group[c];
  }
  return costs;
}

}  // namespace elek
