// SPDX-License-Identifier: Apache-2.0
// The refit in double, by its definition, as a reference: both networks are interpreted with every activation kept; normal
// equations are built column by column and solved by elimination, layer after layer. Which layer completes which residual sum
// is told by name, not found. It uses nothing of the refit.
#pragma once

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/at.h"
#include "elek/graph.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "tests/prune/double_fit.h"
#include "tests/prune/networks.h"
#include "tests/support/reference.h"

namespace elek::test {

inline constexpr int64_t kRefitSamples = 14;  // in batches of 6, 6, 2

inline std::vector<int64_t> kept_of(const Model& dense, const PrunePlan& plan, ValueId id) {
  const std::vector<Group> groups = find_groups(dense.graph);
  std::vector<bool> gone(at(dense.graph.node(id).shape.channels), false);
  for (const Group& group : groups) {
    const std::vector<int64_t> channels = channels_of(dense.graph, group, id);
    for (const GroupCut& cut : plan.groups) {
      for (size_t i = 0; cut.group == group.name && i < gone.size(); ++i) {
        if (channels[i] >= 0 && std::count(cut.keep.begin(), cut.keep.end(), channels[i]) == 0) gone[i] = true;
      }
    }
  }
  std::vector<int64_t> keep;
  for (size_t i = 0; i < gone.size(); ++i) {
    if (!gone[i]) keep.push_back(static_cast<int64_t>(i));
  }
  return keep;
}

/// W [outputs][unknowns] of one layer, by the definition; the last unknown is the bias.
inline Matrix fitted(const Node& node, const ImageShape& input, const std::vector<double>& x, const std::vector<double>& z,
                     const std::vector<int64_t>& targets, int64_t z_channels, int64_t out_positions_w, double ridge,
                     int64_t ones) {
  const Conv2dAttrs conv =
      node.is<Conv2dAttrs>() ? node.as<Conv2dAttrs>() : Conv2dAttrs{.out_channels = node.shape.channels, .bias = true};
  const int64_t outputs = std::ssize(targets), width = input.channels / conv.groups, each = outputs / conv.groups;
  const int64_t columns = width * conv.kernel.area();
  const int64_t oh = node.shape.height, ow = out_positions_w;
  Matrix result;
  for (int64_t g = 0; g < conv.groups; ++g) {
    Matrix a(at(columns + ones), std::vector<double>(at(columns + ones), 0.0)),
        b(at(columns + ones), std::vector<double>(at(each), 0.0));
    for (int64_t n = 0; n < kRefitSamples; ++n) {
      for (int64_t p = 0; p < oh * ow; ++p) {
        std::vector<double> u;
        for (int64_t i = 0; i < columns; ++i) {
          const int64_t c = g * width + i / conv.kernel.area();
          const int64_t r = i % conv.kernel.area() / conv.kernel.width, s = i % conv.kernel.width;
          const int64_t h = p / ow * conv.stride.height - conv.padding.top + r * conv.dilation.height;
          const int64_t w = p % ow * conv.stride.width - conv.padding.left + s * conv.dilation.width;
          const bool inside = h >= 0 && w >= 0 && h < input.height && w < input.width;
          u.push_back(inside ? x[at(((n * input.channels + c) * input.height + h) * input.width + w)] : 0);
        }
        u.resize(at(columns + ones), 1.0);
        for (size_t r = 0; r < u.size(); ++r) {
          for (size_t c = 0; c < u.size(); ++c) a[r][c] += u[r] * u[c];
          for (int64_t k = 0; k < each; ++k)
            b[r][at(k)] += u[r] * z[at((n * z_channels + targets[at(g * each + k)]) * oh * ow + p)];
        }
      }
    }
    double mean = 0;
    for (int64_t i = 0; i < columns; ++i) mean += a[at(i)][at(i)] / static_cast<double>(columns);
    for (int64_t i = 0; i < columns; ++i) a[at(i)][at(i)] += mean > 0 ? ridge * mean : 1;
    eliminate(a, b);
    for (int64_t k = 0; k < each; ++k) {
      result.emplace_back();
      for (const auto& row : b) result.back().push_back(row[at(k)]);
    }
  }
  return result;
}

inline Tensor& own(Model& model, const std::string& name) {
  auto tensor = std::make_shared<Tensor>(model.parameter(name).clone(host_resource(), name));
  Tensor& reference = *tensor;
  model.parameters[name] = std::move(tensor);
  return reference;
}

/// A layer that completes a residual sum, by name: sum = norm(conv) + others. `norm` is empty if the sum adds conv itself.
struct Completes {
  std::string conv;
  std::string norm;
  std::vector<std::string> others;
};

/// z + (others of the dense network - others now) / factor of the norm, for the kept channels; z itself for all other channels.
inline std::vector<double> block_wanted(const Model& dense, const Completes& block, const std::vector<int64_t>& kept,
                                        const ReferenceValues& want, const ReferenceValues& now) {
  std::vector<double> wanted = want.at(block.conv);
  const int64_t channels = dense.graph.node(dense.graph.at(block.conv)).shape.channels;
  const int64_t positions = std::ssize(wanted) / (kRefitSamples * channels), left = std::ssize(kept);
  for (int64_t k = 0; k < left; ++k) {
    const size_t c = at(kept[at(k)]);
    double factor = 1;
    if (!block.norm.empty()) {
      const double eps = dense.graph.node(dense.graph.at(block.norm)).as<BatchNormAttrs>().eps;
      factor = double{dense.parameter(block.norm + ".weight").f32()[c]} /
               std::sqrt(double{dense.parameter(block.norm + ".running_var").f32()[c]} + eps);
    }
    for (int64_t n = 0; n < kRefitSamples; ++n) {
      for (int64_t p = 0; p < positions; ++p) {
        const size_t there = at((n * channels + kept[at(k)]) * positions + p), here = at((n * left + k) * positions + p);
        for (const std::string& other : block.others) wanted[there] += (want.at(other)[there] - now.at(other)[here]) / factor;
      }
    }
  }
  return wanted;
}

/// The whole repair in double. `blocks`: the layers that take the errors of the other operands of their sum.
inline Model refit_by_definition(const Model& dense, const Model& pruned, const PrunePlan& plan,
                                 const std::vector<uint8_t>& pixels, double ridge, const std::vector<Completes>& blocks) {
  Model model = pruned;
  const ReferenceValues want = run_reference(dense, pixels, kRefitSamples);
  std::vector<bool> changed(dense.graph.nodes().size(), false);
  for (ValueId id = 0; id < static_cast<ValueId>(changed.size()); ++id) {
    const Node& node = model.graph.node(id);
    bool reads = false;
    for (const ValueId input : node.inputs) reads = reads || changed[at(input)];
    changed[at(id)] = reads || node.shape.channels != dense.graph.node(id).shape.channels;
    if (!reads || (!node.is<Conv2dAttrs>() && !node.is<LinearAttrs>())) continue;
    const Node& input = model.graph.node(node.inputs[0]);
    const ReferenceValues now = run_reference(model, pixels, kRefitSamples);
    const std::vector<ValueId> readers = model.graph.consumers(id);
    const bool apart = readers.size() == 1 && model.graph.node(readers[0]).is<BatchNormAttrs>();
    const bool biased = apart || node.is<LinearAttrs>() || node.as<Conv2dAttrs>().bias;
    const int64_t ones = biased ? 1 : 0;
    const std::vector<int64_t> kept = kept_of(dense, plan, id);
    std::vector<double> wanted = want.at(node.name);
    for (const Completes& block : blocks) {
      if (block.conv == node.name) wanted = block_wanted(dense, block, kept, want, now);
    }
    const Matrix w = fitted(node, input.shape, now.at(input.name), wanted, kept, dense.graph.node(id).shape.channels,
                            node.shape.width, ridge, ones);
    const std::span<float> weight = own(model, node.name + ".weight").f32();
    const size_t columns = w[0].size() - at(ones);
    for (size_t k = 0; k < w.size(); ++k) {
      for (size_t i = 0; i < columns; ++i) weight[k * columns + i] = static_cast<float>(w[k][i]);
    }
    if (!biased) continue;
    const std::span<float> bias =
        own(model, apart ? model.graph.node(readers[0]).name + ".running_mean" : node.name + ".bias").f32();
    for (size_t k = 0; k < w.size(); ++k) {
      bias[k] = static_cast<float>(apart ? static_cast<double>(bias[k]) - w[k][columns] : w[k][columns]);
    }
  }
  return model;
}

inline PrunePlan channel_plan(const Model& dense, uint64_t seed) {
  PrunePlan plan = random_plan(dense, seed);
  plan.weights.clear();
  return plan;
}

}  // namespace elek::test
