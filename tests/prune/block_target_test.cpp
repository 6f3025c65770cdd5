// SPDX-License-Identifier: Apache-2.0
// Which layer completes which residual sum, for every kind of block; how its outputs follow from the sum; and the refit with
// the block target compared with its definition in double.
#include "prune/block_target.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "core/at.h"
#include "prune/apply.h"
#include "prune/refit.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/prune/refit_reference.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// "conv -> sum: rest rest" of every layer with a block target, if all layers are fitted and all values differ.
std::vector<std::string> targets_of(const Graph& graph) {
  std::vector<bool> fitted, differs(graph.nodes().size(), true);
  for (const Node& node : graph.nodes()) fitted.push_back(has_weights(node));
  std::vector<std::string> found;
  for (ValueId id = 0; id < static_cast<ValueId>(fitted.size()); ++id) {
    if (!fitted[at(id)]) continue;
    const std::optional<BlockTarget> target = block_target(graph, id, fitted, differs);
    if (!target) continue;
    std::string text = graph.node(id).name + " -> " + graph.node(target->sum).name + ":";
    for (const ValueId rest : target->rest) text += " " + graph.node(rest).name;
    found.push_back(text);
  }
  return found;
}

TinyOptions one_block(TinyShortcut shortcut) {
  TinyOptions options;
  options.widths = {5, 8};
  options.blocks = 1;
  options.shortcut = shortcut;
  return options;
}

TEST(BlockTarget, EveryKindOfBlock) {
  EXPECT_THAT(targets_of(tiny_graph(one_block(TinyShortcut::kProjection))),
              ElementsAre("layer1.0.conv2 -> layer1.0.add: relu", "layer2.0.downsample.0 -> layer2.0.add: layer2.0.bn2"));
  EXPECT_THAT(targets_of(tiny_graph(one_block(TinyShortcut::kChannelMap))),
              ElementsAre("layer1.0.conv2 -> layer1.0.add: relu", "layer2.0.conv2 -> layer2.0.add: layer2.0.shortcut"));
  TinyOptions bottleneck = tiny_bottleneck_options();
  bottleneck.widths = {8};
  EXPECT_THAT(targets_of(tiny_graph(bottleneck)),
              ElementsAre("layer1.0.downsample.0 -> layer1.0.add: layer1.0.bn3", "layer1.1.conv3 -> layer1.1.add: layer1.0"));
  EXPECT_THAT(targets_of(two_layer_chain(1).graph), IsEmpty());
  EXPECT_THAT(targets_of(depthwise_and_flatten(1).graph), IsEmpty());
}

/// stem -> [a -> (what stands between) ] + stem -> pool -> fc.
Graph with_between(const std::function<ValueId(Graph&, ValueId)>& between) {
  Graph graph;
  const ValueId input = graph.add("input", InputAttrs{{3, 6, 6}}, {});
  const ValueId stem = graph.add("stem", Conv2dAttrs{4, 3, 1, 1, 1, true}, {input});
  const ValueId a = graph.add("a", Conv2dAttrs{4, 3, 1, 1, 1, true}, {stem});
  const ValueId sum = graph.add("sum", AddAttrs{}, {between(graph, a), stem});
  const ValueId pool = graph.add("pool", GlobalAvgPoolAttrs{}, {sum});
  const ValueId flat = graph.add("flat", FlattenAttrs{}, {pool});
  graph.set_output(graph.add("fc", LinearAttrs{3, true}, {flat}));
  return graph;
}

TEST(BlockTarget, OnlyABatchNormMayStandBetween) {
  EXPECT_THAT(targets_of(with_between([](Graph&, ValueId a) { return a; })), ElementsAre("a -> sum: stem"));
  EXPECT_THAT(targets_of(with_between([](Graph& g, ValueId a) { return g.add("bn", BatchNormAttrs{}, {a}); })),
              ElementsAre("a -> sum: stem"));
  EXPECT_THAT(targets_of(with_between([](Graph& g, ValueId a) { return g.add("act", ReluAttrs{}, {a}); })), IsEmpty());
  EXPECT_THAT(targets_of(with_between([](Graph& g, ValueId a) {
                return g.add("max", MaxPoolAttrs{{3, 1, 1}}, {a});
              })),
              IsEmpty());
  EXPECT_THAT(targets_of(with_between([](Graph& g, ValueId a) { return g.add("twice", AddAttrs{}, {a, a}); })), IsEmpty());
  const auto gated = [](Graph& g, ValueId a) {  // squeeze and excitation: the gate depends on the layer too
    const ValueId mean = g.add("mean", GlobalAvgPoolAttrs{}, {a});
    const ValueId gate = g.add("gate", SigmoidAttrs{}, {g.add("excite", Conv2dAttrs{4, 1, 1, 0, 1, true}, {mean})});
    return g.add("scaled", ChannelScaleAttrs{}, {a, gate});
  };
  EXPECT_THAT(targets_of(with_between(gated)), IsEmpty());
}

/// third = (stem + norm(b)) + a + c.
TEST(BlockTarget, OfASumOfSumsTheLastLayerTakesEverything) {
  Graph graph;
  const ValueId input = graph.add("input", InputAttrs{{3, 6, 6}}, {});
  const ValueId stem = graph.add("stem", Conv2dAttrs{4, 3, 1, 1, 1, true}, {input});
  const ValueId a = graph.add("a", Conv2dAttrs{4, 3, 1, 1, 1, true}, {stem});
  const ValueId b = graph.add("b", Conv2dAttrs{4, 1, 1, 0, 1, false}, {stem});
  const ValueId norm = graph.add("b.bn", BatchNormAttrs{}, {b});
  const ValueId first = graph.add("first", AddAttrs{}, {stem, norm});
  const ValueId second = graph.add("second", AddAttrs{}, {first, a});
  const ValueId c = graph.add("c", Conv2dAttrs{4, 3, 1, 1, 1, true}, {stem});
  const ValueId third = graph.add("third", AddAttrs{}, {second, c});
  const ValueId pool = graph.add("pool", GlobalAvgPoolAttrs{}, {third});
  graph.set_output(graph.add("flat", FlattenAttrs{}, {pool}));
  // a is not the last layer of `second`: b's is, which reaches it through `first`. c is the last of `third`.
  EXPECT_THAT(targets_of(graph), ElementsAre("b -> second: stem a", "c -> third: second"));
}

TEST(BlockTarget, AShortcutWithoutErrorsNeedsNone) {
  const Graph graph = tiny_graph(one_block(TinyShortcut::kChannelMap));
  std::vector<bool> fitted(graph.nodes().size(), false), differs(graph.nodes().size(), false);
  const ValueId conv = graph.at("layer1.0.conv2");
  fitted[at(conv)] = differs[at(conv)] = true;
  EXPECT_FALSE(block_target(graph, conv, fitted, differs));
  differs[at(graph.at("relu"))] = true;
  EXPECT_TRUE(block_target(graph, conv, fitted, differs));
}

TEST(BlockTarget, ScalesUndoTheBatchNorm) {
  Model model = tiny_resnet(one_block(TinyShortcut::kChannelMap));
  const Graph& graph = model.graph;
  const BlockTarget target{graph.at("layer1.0.add"), graph.at("layer1.0.bn2"), {graph.at("relu")}};
  const auto of = [&](const char* what) { return own(model, std::string("layer1.0.bn2.") + what).f32(); };
  of("weight")[1] = 0;
  of("weight")[2] = 1e-9F;  // times z it is nothing, whatever z becomes
  const std::vector<TargetScale> scales = target_scales(model, target);
  ASSERT_EQ(scales.size(), 5U);
  for (const size_t k : {0U, 3U, 4U}) {
    const double z = 0.75;
    const double out =
        (z - double{of("running_mean")[k]}) / std::sqrt(double{of("running_var")[k]} + 1e-5) * double{of("weight")[k]} +
        double{of("bias")[k]};
    EXPECT_NEAR(scales[k].factor * out + scales[k].shift, z, 1e-12) << k;
  }
  for (const size_t k : {1U, 2U}) {
    EXPECT_EQ(scales[k].factor, 1) << k;
    EXPECT_EQ(scales[k].shift, 0) << k;
  }
  const std::vector<TargetScale> plain = target_scales(model, {graph.at("layer1.0.add"), -1, {}});
  EXPECT_EQ(plain[0].factor, 1);
}

struct Case {
  Model dense;
  std::vector<Completes> blocks;
  uint64_t seed = 2;  // of the plan
};

/// A residual sum of three operands, without batch norm.
Model three_operands() {
  Graph graph;
  const ValueId input = graph.add("input", InputAttrs{{3, 6, 6}}, {});
  ValueId stem = graph.add("stem", Conv2dAttrs{6, 3, 1, 1, 1, true}, {input});
  stem = graph.add("act", ReluAttrs{}, {stem});
  const ValueId a = graph.add("a", Conv2dAttrs{6, 3, 1, 1, 1, true}, {stem});
  const ValueId b = graph.add("b", Conv2dAttrs{6, 1, 1, 0, 1, true}, {graph.add("a.act", ReluAttrs{}, {a})});
  const ValueId first = graph.add("first", AddAttrs{}, {b, stem});
  const ValueId second = graph.add("second", AddAttrs{}, {first, a});
  const ValueId pool = graph.add("pool", GlobalAvgPoolAttrs{}, {second});
  const ValueId flat = graph.add("flat", FlattenAttrs{}, {pool});
  graph.set_output(graph.add("fc", LinearAttrs{3, true}, {flat}));
  Model model;
  model.parameters = tiny_parameters(graph, 4);
  model.preprocessing = {{0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}};
  model.graph = std::move(graph);
  return model;
}

std::vector<Case> cases() {
  TinyOptions basic = one_block(TinyShortcut::kProjection);
  basic.blocks = 2;
  TinyOptions mapped = one_block(TinyShortcut::kChannelMap);
  TinyOptions bottleneck = tiny_bottleneck_options();
  bottleneck.widths = {8};
  return {{tiny_resnet(basic),
           {{"layer1.0.conv2", "layer1.0.bn2", {"relu"}},
            {"layer1.1.conv2", "layer1.1.bn2", {"layer1.0"}},
            {"layer2.0.downsample.0", "layer2.0.downsample.1", {"layer2.0.bn2"}},
            {"layer2.1.conv2", "layer2.1.bn2", {"layer2.0"}}}},
          {tiny_resnet(mapped),
           {{"layer1.0.conv2", "layer1.0.bn2", {"relu"}}, {"layer2.0.conv2", "layer2.0.bn2", {"layer2.0.shortcut"}}}},
          {tiny_resnet(bottleneck),
           {{"layer1.0.downsample.0", "layer1.0.downsample.1", {"layer1.0.bn3"}},
            {"layer1.1.conv3", "layer1.1.bn3", {"layer1.0"}}}},
          {three_operands(), {{"b", "", {"act", "a"}}}, 3}};
}

/// Largest difference of two models' parameters, as a share of the largest value of each parameter.
double difference(const Model& got, const Model& want) {
  double most = 0;
  for (const auto& [name, tensor] : want.parameters) {
    double scale = 0, off = 0;
    for (size_t i = 0; i < tensor->f32().size(); ++i) {
      const double expected = tensor->f32()[i];
      scale = std::max(scale, std::fabs(expected));
      off = std::max(off, std::fabs(double{got.parameter(name).f32()[i]} - expected));
    }
    EXPECT_TRUE(std::isfinite(off)) << name;
    most = std::max(most, scale > 0 ? off / scale : off);
  }
  return most;
}

TEST(RefitBlock, IsItsDefinitionOnWholeNetworks) {
  const double ridge = 0.1;
  for (const Case& each : cases()) {
    const Model& dense = each.dense;
    const PrunePlan plan = channel_plan(dense, each.seed);
    ASSERT_FALSE(plan.groups.empty());
    const Model pruned = apply(dense, plan, host_resource());
    const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kRefitSamples, 8);
    const Model want = refit_by_definition(dense, pruned, plan, pixels, ridge, each.blocks);
    const Model layerwise = refit_by_definition(dense, pruned, plan, pixels, ridge, {});
    const RefitOptions streaming{ridge, 0, RefitTarget::kBlock};
    const RefitPlan work = plan_refit(dense, pruned, plan, six_at_a_time(), kRefitSamples, streaming);
    EXPECT_EQ(work.block_targets, std::ssize(each.blocks));
    for (const size_t kept : {size_t{0}, size_t{1} << 30}) {
      ArraySource source(pixels, kRefitSamples);
      const Model got = refit(dense, pruned, plan, source, six_at_a_time(), {}, {ridge, kept, RefitTarget::kBlock});
      // As tests/prune/refit_test.cpp: the forward in f32, errors of 1e-6 of x, times a condition of 2000 in the worst
      // direction.
      EXPECT_LT(difference(got, want), 2e-3);
    }
    EXPECT_GT(difference(layerwise, want), 0.05) << "the networks do not tell the two targets apart";
  }
}

/// Squared error of every residual sum against the dense network's, over the channels that are left.
std::vector<double> errors_of_sums(const Model& dense, const Model& model, const PrunePlan& plan,
                                   const std::vector<uint8_t>& pixels) {
  const ReferenceValues want = run_reference(dense, pixels, kRefitSamples), got = run_reference(model, pixels, kRefitSamples);
  std::vector<double> errors;
  for (ValueId id = 0; id < static_cast<ValueId>(dense.graph.nodes().size()); ++id) {
    const Node& node = dense.graph.node(id);
    if (!node.is<AddAttrs>()) continue;
    const std::vector<int64_t> kept = kept_of(dense, plan, id);
    const int64_t channels = node.shape.channels, positions = node.shape.height * node.shape.width, left = std::ssize(kept);
    double error = 0;
    for (int64_t n = 0; n < kRefitSamples; ++n) {
      for (int64_t i = 0; i < left * positions; ++i) {
        const int64_t there = (n * channels + kept[at(i / positions)]) * positions + i % positions;
        const double off = got.at(node.name)[at(n * left * positions + i)] - want.at(node.name)[at(there)];
        error += off * off;
      }
    }
    errors.push_back(error);
  }
  return errors;
}

/// What it is for: along ten blocks errors add up without it. Both with cut channels and with masks.
TEST(RefitBlock, ErrorsDoNotAddUpAlongTheShortcuts) {
  TinyOptions deep = one_block(TinyShortcut::kChannelMap);
  deep.blocks = 5;
  const Model dense = tiny_resnet(deep);
  const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kRefitSamples, 8);
  PrunePlan masks = random_plan(dense, 5);
  masks.groups.clear();
  for (const PrunePlan& plan : {channel_plan(dense, 2), masks}) {
    const Model pruned = apply(dense, plan, host_resource());
    std::vector<double> errors[2];
    for (const RefitTarget target : {RefitTarget::kLayer, RefitTarget::kBlock}) {
      ArraySource source(pixels, kRefitSamples);
      const Model got = refit(dense, pruned, plan, source, six_at_a_time(), {}, {kRidge, 0, target});
      errors[target == RefitTarget::kBlock ? 1 : 0] = errors_of_sums(dense, got, plan, pixels);
      for (const WeightCut& cut : plan.weights) {
        const std::span<const float> weights = got.parameter(cut.node + ".weight").f32();
        for (size_t i = 0; i < weights.size(); ++i) ASSERT_TRUE(cut.keep[i] != 0 || weights[i] == 0.0F) << cut.node << " " << i;
      }
    }
    ASSERT_EQ(errors[0].size(), 10U);
    for (size_t i = 0; i < errors[0].size(); ++i) EXPECT_LE(errors[1][i], errors[0][i] * (1 + 1e-4)) << "sum " << i;
    EXPECT_LT(errors[1].back(), 0.8 * errors[0].back());
  }
}

TEST(RefitBlock, ChangesNothingWithoutResidualSums) {
  const Model dense = two_layer_chain(1);
  const PrunePlan plan = channel_plan(dense, 3);
  const Model pruned = apply(dense, plan, host_resource());
  const std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), kRefitSamples, 8);
  std::vector<Model> got;
  for (const RefitTarget target : {RefitTarget::kLayer, RefitTarget::kBlock}) {
    ArraySource source(pixels, kRefitSamples);
    got.push_back(refit(dense, pruned, plan, source, six_at_a_time(), {}, {kRidge, 0, target}));
  }
  EXPECT_EQ(hash(got[0]), hash(got[1]));
}

TEST(RefitBlock, MemoryDoesNotGrowWithTheImagesAndItsForecastHolds) {
  const Model dense = tiny_resnet(TinyOptions{});
  const PrunePlan plan = channel_plan(dense, 2);
  const Model pruned = apply(dense, plan, host_resource());
  const RefitOptions how{kRidge, 0, RefitTarget::kBlock};
  std::vector<size_t> peaks;
  for (const int64_t samples : {6, 30}) {
    ArraySource source(tiny_pixels(dense.graph.input_shape(), samples, 8), samples);
    Tracker memory(host_resource());
    { const Model repaired = refit(dense, pruned, plan, source, six_at_a_time(&memory), {}, how); }
    EXPECT_EQ(memory.figures().live_bytes, 0U);
    peaks.push_back(memory.figures().peak_bytes);
  }
  EXPECT_EQ(peaks[0], peaks[1]);
  const RefitPlan block = plan_refit(dense, pruned, plan, six_at_a_time(), 6, how);
  const RefitPlan layer = plan_refit(dense, pruned, plan, six_at_a_time(), 6, {kRidge, 0, RefitTarget::kLayer});
  EXPECT_GT(block.block_targets, 0);
  EXPECT_EQ(layer.block_targets, 0);
  EXPECT_EQ(layer.sessions, 2U);
  EXPECT_EQ(block.sessions, 4U) << "dense; pruned to the block's input, to the layer's input, to the shortcut";
  EXPECT_EQ(block.moments_bytes, layer.moments_bytes) << "targets are made in the chunk of columns that the layer has anyway";
  EXPECT_GT(block.dense_passes, layer.dense_passes);
  EXPECT_LT(block.dense_passes, 1.1 * layer.dense_passes) << "what the two values share is computed once";
}

}  // namespace
}  // namespace elek::test
