// SPDX-License-Identifier: Apache-2.0
// Replays: a history, read back as a plan, cuts another checkpoint into the same graph. A history that does not fit is refused.
#include "prune/replay.h"

#include <gmock/gmock.h>

#include <functional>

#include "core/error.h"
#include "models/model_file.h"
#include "prune/apply.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

/// The cut model with the history that the command writes.
Model cut_with_history(const Model& dense, const PrunePlan& plan) {
  Model cut = apply(dense, plan, host_resource());
  HistoryEntry entry;
  entry.action = plan.weights.empty() ? "prune channels" : "prune weights";
  for (const GroupCut& g : plan.groups) {
    entry.cuts.push_back({g.group, g.channels, g.keep, g.channels - std::ssize(g.keep), g.scores});
  }
  for (const WeightCut& w : plan.weights) entry.cuts.push_back({w.node, std::ssize(w.keep), {}, w.removed, {}});
  cut.history.push_back(entry);
  return cut;
}

PrunePlan channels_only(const Model& model, uint64_t seed) {
  PrunePlan plan = random_plan(model, seed);
  plan.weights.clear();
  return plan;
}

PrunePlan weights_only(const Model& model, uint64_t seed) {
  PrunePlan plan = random_plan(model, seed);
  plan.groups.clear();
  return plan;
}

std::string refusal(const Model& cut, const Model& model) {
  try {
    (void)replay_plan(cut, model, "cut.file", host_resource());
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("cut.file"));
    return error.what();
  }
  return "no InputError";
}

TEST(Replay, CutsAnotherCheckpointTheSameWay) {
  for (auto* make : {tiny_basic, tiny_bottleneck, tiny_option_a, tiny_resnext, depthwise_and_flatten}) {
    const Model dense = make(1);
    const Model other = make(2);
    const PrunePlan plan = channels_only(dense, 5);
    const Model cut = model_from_json(model_to_json(cut_with_history(dense, plan)), "json");
    const PrunePlan again = replay_plan(cut, other, "cut.file", host_resource());
    EXPECT_EQ(hash(apply(other, again, host_resource())), hash(apply(other, plan, host_resource())));
  }
}

TEST(Replay, TwoCutsBecomeOne) {
  const Model dense = tiny_basic(1);
  const Model once = cut_with_history(dense, channels_only(dense, 5));
  const Model twice = cut_with_history(once, channels_only(once, 6));
  ASSERT_EQ(twice.history.size(), 2U);
  const PrunePlan plan = replay_plan(twice, dense, "cut.file", host_resource());
  EXPECT_EQ(hash(apply(dense, plan, host_resource())), hash(twice));
}

TEST(Replay, WeightsGoWhereTheFileHasZeros) {
  const Model dense = tiny_basic(1);
  Model other = tiny_basic(2);
  const PrunePlan plan = weights_only(dense, 5);
  ASSERT_FALSE(plan.weights.empty());
  Model cut = cut_with_history(dense, plan);
  const PrunePlan again = replay_plan(cut, other, "cut.file", host_resource());
  const Model made = apply(other, again, host_resource());
  for (const WeightCut& w : plan.weights) {
    const auto zeros = cut.parameter(w.node + ".weight").f32();
    const auto got = made.parameter(w.node + ".weight").f32();
    const auto whole = other.parameter(w.node + ".weight").f32();
    for (size_t i = 0; i < zeros.size(); ++i) EXPECT_EQ(got[i], zeros[i] == 0.0F ? 0.0F : whole[i]);
  }
  cut.history[0].cuts[0].removed += 1000;
  EXPECT_THAT(refusal(cut, other), HasSubstr("changed after the cut"));
}

TEST(Replay, RefusesWhatDoesNotFit) {
  const Model dense = tiny_basic(1);
  const Model cut = cut_with_history(dense, channels_only(dense, 5));
  EXPECT_EQ(refusal(cut, tiny_basic(9)), "no InputError");
  EXPECT_THAT(refusal(cut, tiny_bottleneck(1)), HasSubstr("another network"));
  EXPECT_THAT(refusal(cut, depthwise_and_flatten(1)), HasSubstr("no such group"));
  EXPECT_THAT(refusal(dense, dense), HasSubstr("no cut to replay"));
  EXPECT_THAT(refusal(cut, cut), HasSubstr("another network"));  // already cut
  Model other_graph = cut;                                       // the same groups, another graph: an eps
  Graph graph;
  for (const Node& node : cut.graph.nodes()) {
    Attrs attrs = node.attrs;
    if (node.is<BatchNormAttrs>()) attrs = BatchNormAttrs{1e-3};
    graph.add(node.name, attrs, node.inputs);
  }
  graph.set_output(cut.graph.output());
  other_graph.graph = graph;
  EXPECT_THAT(refusal(other_graph, dense), HasSubstr("gives another graph"));
}

TEST(Replay, ChangedHistoriesAreRefused) {
  const Model dense = tiny_resnext(1);
  Model cut;
  for (uint64_t seed = 5; cut.history.empty() || cut.history[0].cuts[0].kept.size() < 2; ++seed) {
    cut = cut_with_history(dense, channels_only(dense, seed));
  }
  const auto with = [&](const std::function<void(Cut&)>& change) {
    Model changed = cut;
    change(changed.history[0].cuts[0]);
    return refusal(changed, dense);
  };
  EXPECT_THAT(with([](Cut& c) { c.kept.clear(); }), HasSubstr("kept channels"));
  EXPECT_THAT(with([](Cut& c) { c.removed += 1; }), HasSubstr("kept channels"));
  EXPECT_THAT(with([](Cut& c) { c.kept[0] = c.before; }), HasSubstr("strictly increasing"));
  EXPECT_THAT(with([](Cut& c) { c.kept[1] = c.kept[0]; }), HasSubstr("strictly increasing"));
  EXPECT_THAT(with([](Cut& c) { c.before += 1, c.removed += 1; }), HasSubstr("the model to cut has"));
  EXPECT_THAT(with([](Cut& c) { c.name = "layer9"; }), HasSubstr("no such group"));
  Model doubled = cut;
  doubled.history.push_back(cut.history[0]);
  EXPECT_THAT(refusal(doubled, dense), HasSubstr("do not fit together"));
  doubled.history[1].action = "prune weights";
  EXPECT_THAT(refusal(doubled, dense), HasSubstr("more than once"));
}

}  // namespace
}  // namespace elek::test
