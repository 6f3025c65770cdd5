// SPDX-License-Identifier: Apache-2.0
// Small networks that the pruning tests share: hand-made ones, seeded random residual graphs, random plans, and statistics from
// the double-precision interpreter. From prune/ it uses only the type of a plan.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/model.h"
#include "elek/session.h"
#include "elek/statistics.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "tests/support/reference.h"

namespace elek::test {

/// The graph with seeded weights and batch norms: small integers (variances: quarters), never all equal.
[[nodiscard]] Model with_parameters(Graph graph, uint64_t seed);

/// ResNets of a few channels on an 8x8 image.
[[nodiscard]] Model tiny_basic(uint64_t seed);       // two stages of basic blocks, 1x1 projection
[[nodiscard]] Model tiny_bottleneck(uint64_t seed);  // ImageNet stem with max pool, bottlenecks
[[nodiscard]] Model tiny_option_a(uint64_t seed);    // channel_map shortcut
[[nodiscard]] Model tiny_resnext(uint64_t seed);     // grouped 3x3: 12 channels in 3 convolution groups
/// conv 6 -> depthwise 3x3 -> conv 4 -> flatten of 4x4 positions -> linear 5 -> relu -> linear 3.
[[nodiscard]] Model depthwise_and_flatten(uint64_t seed);
/// Concatenations of every kind (tests/golden/window_models.h).
[[nodiscard]] Model tiny_concat(uint64_t seed);
/// MobileNet-like: depthwise convolution, hard swish, squeeze-and-excitation, leaky ReLU, a residual sum.
[[nodiscard]] Model tiny_mobile(uint64_t seed);
/// conv1 (3x3, 4 channels of 8x8, batch norm, ReLU) -> conv2 (3x3, 3 channels, batch norm) -> pool -> fc, on small fractions:
/// two groups with one reader each.
[[nodiscard]] Model two_layer_chain(int64_t stride);

/// Session options of the refit's tests: two threads, batches of six.
[[nodiscard]] SessionOptions six_at_a_time(MemoryResource* memory = nullptr);

/// A random graph of convolutions (plain, grouped, depthwise), batch norms, ReLUs, pools, residual sums, projections,
/// concatenations and channel maps, ending in pooling or flattening and one or two linear layers.
[[nodiscard]] Graph random_graph(uint64_t seed);

/// Cuts every prunable group at random (equally many channels per convolution group), and some weights.
[[nodiscard]] PrunePlan random_plan(const Model& model, uint64_t seed);

/// Small integers, [samples, C, H, W].
[[nodiscard]] std::vector<float> random_input(const Graph& graph, int64_t samples, uint64_t seed);

/// Statistics of the reference's values, as a session would take them.
[[nodiscard]] Statistics take_statistics(const Model& model, const Probes& probes, const std::vector<float>& input,
                                         int64_t samples);

[[nodiscard]] std::vector<std::string> names(const Graph& graph, const std::vector<ValueId>& values);
[[nodiscard]] const Group& group_named(const std::vector<Group>& groups, const std::string& name);

}  // namespace elek::test
