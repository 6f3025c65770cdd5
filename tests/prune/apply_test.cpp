// SPDX-License-Identifier: Apache-2.0
// Cutting. Three networks must agree to the last bit in the double-precision interpreter: the compact one, masked(), and the
// dense one in which this test set the readers' weights for removed channels to zero. (The interpreter adds in a fixed order in
// which zeros change nothing.) Also: what is shared, what is refused, and that nothing is left half-cut.
#include "prune/apply.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <memory>
#include <set>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"
#include "tests/prune/networks.h"
#include "tests/support/compare.h"
#include "tests/support/faulty.h"

namespace elek::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kSamples = 2;

/// Channels of the value that the plan removes, from the groups' definition.
std::set<int64_t> removed_channels(const Graph& graph, const PrunePlan& plan, ValueId value) {
  std::set<int64_t> gone;
  for (const Group& group : find_groups(graph)) {
    const std::vector<int64_t> channels = channels_of(graph, group, value);
    for (const GroupCut& cut : plan.groups) {
      if (cut.group != group.name) continue;
      for (int64_t c = 0; c < std::ssize(channels); ++c) {
        const int64_t own = channels[at(c)];
        if (own >= 0 && std::count(cut.keep.begin(), cut.keep.end(), own) == 0) gone.insert(c);
      }
    }
  }
  return gone;
}

/// The dense network in which nothing reads a removed channel: columns of weights zeroed, sources of maps set to none.
Model with_zeroed_readers(const Model& dense, const PrunePlan& plan) {
  Model model = dense;
  model.graph = Graph();
  for (const Node& node : dense.graph.nodes()) {
    Attrs attrs = node.attrs;
    if (node.is<ChannelMapAttrs>()) {
      const std::set<int64_t> gone = removed_channels(dense.graph, plan, node.inputs[0]);
      for (int32_t& source : std::get<ChannelMapAttrs>(attrs).source) source = gone.count(source) != 0 ? -1 : source;
    }
    model.graph.add(node.name, attrs, node.inputs);
    if (!(node.is<Conv2dAttrs>() || node.is<LinearAttrs>())) continue;
    const std::set<int64_t> gone = removed_channels(dense.graph, plan, node.inputs[0]);
    const std::string name = node.name + ".weight";
    auto weight = std::make_shared<Tensor>(dense.parameter(name).clone(host_resource(), name));
    const std::span<float> w = weight->f32();
    for (const WeightCut& cut : plan.weights) {
      for (size_t i = 0; cut.node == node.name && i < w.size(); ++i) w[i] = cut.keep[i] != 0 ? w[i] : 0.0F;
    }
    const int64_t slices = node.is<Conv2dAttrs>() ? node.as<Conv2dAttrs>().groups : 1;
    const int64_t taps = node.is<Conv2dAttrs>() ? node.as<Conv2dAttrs>().kernel.area() : 1;
    const int64_t inputs = dense.graph.node(node.inputs[0]).shape.channels / slices;
    for (int64_t i = 0; i < std::ssize(w); ++i) {
      const int64_t k = i / (inputs * taps);
      const int64_t c = k / (node.shape.channels / slices) * inputs + i / taps % inputs;
      if (gone.count(c) != 0) w[at(i)] = 0.0F;
    }
    model.parameters[name] = std::move(weight);
  }
  model.graph.set_output(dense.graph.output());
  return model;
}

/// The kept channels of a value of the dense network, laid out as in the compact one.
std::vector<double> kept_channels(const std::vector<double>& values, const ImageShape& shape, const std::set<int64_t>& gone) {
  std::vector<double> kept;
  for (int64_t i = 0; i < std::ssize(values); ++i) {
    if (gone.count(i / shape.positions() % shape.channels) == 0) kept.push_back(values[at(i)]);
  }
  return kept;
}

/// Where the compact, masked and zeroed networks differ, in any value; empty if they agree exactly.
std::string difference(const Model& dense, const PrunePlan& plan) {
  const Model compact = apply(dense, plan, host_resource());
  const Model mask = masked(dense, plan, host_resource());
  validate(compact, "compact");
  validate(mask, "mask");
  const std::vector<float> input = random_input(dense.graph, kSamples, 21);
  const ReferenceValues got = run_reference_nchw(compact, input, kSamples);
  const ReferenceValues by_mask = run_reference_nchw(mask, input, kSamples);
  const ReferenceValues by_zero = run_reference_nchw(with_zeroed_readers(dense, plan), input, kSamples);
  for (const Node& node : dense.graph.nodes()) {
    const std::set<int64_t> gone = removed_channels(dense.graph, plan, dense.graph.at(node.name));
    for (const ReferenceValues* want : {&by_mask, &by_zero}) {
      const Mismatch m = compare(got.at(node.name), kept_channels(want->at(node.name), node.shape, gone), 0.0);
      if (m.count != 0) return "value " + node.name + (want == &by_mask ? " (mask): " : " (zeroed): ") + m.message();
    }
  }
  return got.output == dense.graph.node(dense.graph.output()).name ? "" : "output " + got.output;
}

/// The graph and the plan, to be read.
std::string drawn(const Model& dense, const PrunePlan& plan) {
  std::string text;
  for (const Node& node : dense.graph.nodes()) {
    text += node.name + " " + std::string(op_name(node)) + " " + to_string(node.shape) + " of";
    for (const ValueId input : node.inputs) text += " " + dense.graph.node(input).name;
    text += "\n";
  }
  for (const GroupCut& cut : plan.groups) {
    text += "group " + cut.group + " of " + std::to_string(cut.channels) + " keeps " + testing::PrintToString(cut.keep) + "\n";
  }
  for (const WeightCut& cut : plan.weights) text += "weights of " + cut.node + "\n";
  return text;
}

/// Removes cuts and gives channels back, one by one, while `fails` still holds. What is left is all needed for the failure.
template <typename Fails>
PrunePlan shrunk(PrunePlan plan, const Fails& fails) {
  const auto try_without = [&](auto& list) {
    for (size_t i = 0; i < list.size();) {
      const auto saved = list[i];
      list.erase(list.begin() + static_cast<std::ptrdiff_t>(i));
      if (fails(plan)) continue;
      list.insert(list.begin() + static_cast<std::ptrdiff_t>(i++), saved);
    }
  };
  try_without(plan.weights);
  try_without(plan.groups);
  for (GroupCut& cut : plan.groups) {
    for (int64_t c = 0; c < cut.channels; ++c) {
      const auto place = std::lower_bound(cut.keep.begin(), cut.keep.end(), c);
      if ((place != cut.keep.end() && *place == c) || std::ssize(cut.keep) + 1 >= cut.channels) continue;
      const std::vector<int64_t> saved = cut.keep;
      cut.keep.insert(place, c);
      if (!fails(plan)) cut.keep = saved;
    }
  }
  return plan;
}

/// Compact, masked and zeroed networks agree exactly in every value. Otherwise the message shows the smallest plan with a
/// difference.
void expect_exact(const Model& dense, const PrunePlan& plan, const std::string& what) {
  if (difference(dense, plan).empty()) return;
  const PrunePlan least = shrunk(plan, [&](const PrunePlan& smaller) {
    try {
      return !difference(dense, smaller).empty();
    } catch (const ContractError&) {  // unequal convolution groups: no plan
      return false;
    }
  });
  FAIL() << what << ": " << difference(dense, least) << "\n" << drawn(dense, least);
}

TEST(Shrink, LeavesTheCutsThatAreNeededToFail) {
  const PrunePlan plan{"", "", {{"a", 5, {0}, {}}, {"b", 4, {1, 2}, {}}, {"c", 3, {0}, {}}}, {{"w", {0, 1}, 1}}};
  const auto loses = [](const PrunePlan& p, const std::string& group, int64_t c) {
    return std::any_of(p.groups.begin(), p.groups.end(),
                       [&](const GroupCut& g) { return g.group == group && std::count(g.keep.begin(), g.keep.end(), c) == 0; });
  };
  const PrunePlan least = shrunk(plan, [&](const PrunePlan& p) { return loses(p, "b", 3) && loses(p, "a", 2); });
  ASSERT_EQ(least.groups.size(), 2U);
  EXPECT_THAT(least.groups[0].keep, testing::ElementsAre(0, 1, 3, 4));
  EXPECT_THAT(least.groups[1].keep, testing::ElementsAre(0, 1, 2));
  EXPECT_TRUE(least.weights.empty());
}

TEST(Apply, ExactOnHandMadeNetworks) {
  for (auto* make :
       {tiny_basic, tiny_bottleneck, tiny_option_a, tiny_resnext, depthwise_and_flatten, tiny_concat, tiny_mobile}) {
    for (uint64_t seed = 0; seed < 8; ++seed) {
      const Model dense = make(seed);
      expect_exact(dense, random_plan(dense, seed), dense.graph.nodes()[1].name + ", seed " + std::to_string(seed));
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Apply, ExactOnRandomResidualGraphs) {
  int64_t cut = 0;
  std::set<std::string_view> operators;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    const Model dense = with_parameters(random_graph(seed), seed);
    const PrunePlan plan = random_plan(dense, seed);
    cut += std::ssize(plan.groups);
    for (const Node& node : dense.graph.nodes()) operators.insert(op_name(node));
    expect_exact(dense, plan, "random graph of seed " + std::to_string(seed));
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(cut, 400);               // the graphs give something to cut
  EXPECT_EQ(operators.size(), 12U);  // and every operator takes part
}

PrunePlan plan_for(const Model& model, const std::string& group, std::vector<int64_t> keep) {
  PrunePlan plan;
  plan.groups.push_back({group, group_named(find_groups(model.graph), group).channels, std::move(keep), {}});
  return plan;
}

TEST(Apply, MovesTheRightNumbers) {
  const Model dense = tiny_basic(5);
  const Model compact = apply(dense, plan_for(dense, "layer1.0.relu1", {1, 3}), host_resource());
  const std::span<const float> before = dense.parameter("layer1.0.conv1.weight").f32();
  const std::span<const float> rows = compact.parameter("layer1.0.conv1.weight").f32();
  ASSERT_EQ(compact.parameter("layer1.0.conv1.weight").shape(), (Shape{2, 4, 3, 3}));
  for (size_t i = 0; i < 36; ++i) {
    EXPECT_EQ(rows[i], before[36 + i]);
    EXPECT_EQ(rows[36 + i], before[3 * 36 + i]);
  }
  const std::span<const float> wide = dense.parameter("layer1.0.conv2.weight").f32();
  const std::span<const float> columns = compact.parameter("layer1.0.conv2.weight").f32();
  ASSERT_EQ(compact.parameter("layer1.0.conv2.weight").shape(), (Shape{4, 2, 3, 3}));
  for (size_t k = 0; k < 4; ++k) {
    for (size_t tap = 0; tap < 9; ++tap) {
      EXPECT_EQ(columns[(k * 2 + 0) * 9 + tap], wide[(k * 4 + 1) * 9 + tap]);
      EXPECT_EQ(columns[(k * 2 + 1) * 9 + tap], wide[(k * 4 + 3) * 9 + tap]);
    }
  }
  EXPECT_EQ(compact.parameter("layer1.0.bn1.running_var").f32()[1], dense.parameter("layer1.0.bn1.running_var").f32()[3]);
  EXPECT_LT(macs(compact.graph), macs(dense.graph));
}

TEST(Apply, SharesWhatItDoesNotChange) {
  Model dense = tiny_basic(5);
  dense.labels = {"a", "b", "c", "d", "e"};
  dense.history.emplace_back().action = "prepare";
  const PrunePlan plan = plan_for(dense, "layer1.0.relu1", {1, 3});
  const std::set<std::string> changed = {"layer1.0.conv1.weight",     "layer1.0.bn1.weight",      "layer1.0.bn1.bias",
                                         "layer1.0.bn1.running_mean", "layer1.0.bn1.running_var", "layer1.0.conv2.weight"};
  const Model compact = apply(dense, plan, host_resource());
  for (const auto& [name, tensor] : dense.parameters) {
    EXPECT_EQ(compact.parameters.at(name) != tensor, changed.count(name) != 0) << name;
  }
  EXPECT_EQ(masked(dense, plan, host_resource()).parameters, dense.parameters);
  EXPECT_EQ(compact.labels, dense.labels);
  EXPECT_EQ(compact.history.size(), 1U);
  EXPECT_EQ(compact.preprocessing.mean, dense.preprocessing.mean);
  EXPECT_EQ(hash(apply(dense, {}, host_resource())), hash(dense));
}

TEST(Apply, OptionAMapsLoseSourcesAndDestinations) {
  const Model dense = tiny_option_a(2);  // 4 channels into the middle of 8: sources -1 -1 0 1 2 3 -1 -1
  PrunePlan plan = plan_for(dense, "relu", {0, 2});
  plan.groups.push_back(plan_for(dense, "layer2.0", {1, 2, 3, 4, 7}).groups[0]);
  const Model compact = apply(dense, plan, host_resource());
  const auto& map = compact.graph.node(compact.graph.at("layer2.0.shortcut")).as<ChannelMapAttrs>();
  EXPECT_THAT(map.source, testing::ElementsAre(-1, 0, -1, 1, -1));
  EXPECT_EQ(map.stride, 2);
}

TEST(Apply, APrunedModelCanBePrunedAgain) {
  for (auto* make : {tiny_basic, tiny_option_a, tiny_resnext, depthwise_and_flatten}) {
    const Model dense = make(4);
    const Model once = apply(dense, random_plan(dense, 1), host_resource());
    expect_exact(once, random_plan(once, 2), "second cut");
    if (HasFatalFailure()) return;
  }
}

TEST(Apply, RunningOutOfMemoryLeavesEverythingAsItWas) {
  const Model dense = tiny_resnext(4);
  const PrunePlan plan = random_plan(dense, 3);
  const uint64_t before = hash(dense);
  for (auto* cut : {apply, masked}) {
    int64_t k = 0;
    for (bool done = false; !done; ++k) {
      Faulty memory;
      memory.fail_at(k);
      try {
        const Model cut_model = cut(dense, plan, memory);
        done = true;
        EXPECT_EQ(memory.failures(), 0);
      } catch (const OutOfMemory&) {
        EXPECT_EQ(hash(dense), before);
      }
      EXPECT_EQ(memory.in_use_bytes(), 0U) << memory.leaks();
      EXPECT_TRUE(memory.misuse().empty());
    }
    EXPECT_GT(k, 1);  // some allocation did fail
  }
}

/// The message of the ContractError that both apply() and masked() throw.
std::string complaint(const Model& model, const PrunePlan& plan) {
  std::vector<std::string> messages;
  for (auto* cut : {apply, masked}) {
    try {
      (void)cut(model, plan, host_resource());
      messages.emplace_back("no ContractError");
    } catch (const ContractError& error) {
      messages.emplace_back(error.what());
    }
  }
  EXPECT_EQ(messages[0], messages[1]);
  return messages[0];
}

TEST(Apply, RefusesPlansThatDoNotFit) {
  const Model model = tiny_basic(5);
  EXPECT_THAT(complaint(model, plan_for(model, "relu", {})), HasSubstr("'relu' would lose all 4 channels"));
  EXPECT_THAT(complaint(model, plan_for(model, "relu", {0, 4})), HasSubstr("keep[1] = 4"));
  EXPECT_THAT(complaint(model, plan_for(model, "relu", {-1, 2})), HasSubstr("keep[0] = -1"));
  EXPECT_THAT(complaint(model, plan_for(model, "relu", {2, 1})), HasSubstr("strictly increasing"));
  EXPECT_THAT(complaint(model, plan_for(model, "relu", {1, 1})), HasSubstr("strictly increasing"));
  EXPECT_THAT(complaint(model, plan_for(model, "fc", {0})), HasSubstr("cannot be cut"));
  EXPECT_THAT(complaint(model, plan_for(model, "input", {0})), HasSubstr("cannot be cut"));
  PrunePlan plan = plan_for(model, "relu", {0, 1});
  plan.groups[0].group = "layer9";
  EXPECT_THAT(complaint(model, plan), HasSubstr("no group 'layer9'"));
  plan.groups[0].group = "conv1";  // a value of the group, not its name
  EXPECT_THAT(complaint(model, plan), HasSubstr("no group 'conv1'"));
  plan = plan_for(model, "relu", {0, 1});
  plan.groups[0].channels = 5;
  EXPECT_THAT(complaint(model, plan), HasSubstr("has 4 channels, the plan expects 5"));
  plan = plan_for(model, "relu", {0, 1});
  plan.groups[0].scores = {1, 2};
  EXPECT_THAT(complaint(model, plan), HasSubstr("2 scores"));
  plan = plan_for(model, "relu", {0, 1});
  plan.groups.push_back(plan.groups[0]);
  EXPECT_THAT(complaint(model, plan), HasSubstr("cut twice"));
  const Model resnext = tiny_resnext(1);
  EXPECT_THAT(complaint(resnext, plan_for(resnext, "layer1.0.relu1", {0, 1, 2, 4})), HasSubstr("equal counts"));
}

TEST(Apply, RefusesMasksThatDoNotFit) {
  const Model model = tiny_basic(5);
  const size_t size = 5 * 6;
  WeightCut good{"fc", std::vector<uint8_t>(size, 1), 1};
  good.keep[3] = 0;
  const auto with = [&](const WeightCut& cut) { return PrunePlan{"wanda", "", {}, {cut}}; };
  EXPECT_EQ(complaint(model, with(good)), "no ContractError");
  EXPECT_EQ(apply(model, with(good), host_resource()).parameter("fc.weight").f32()[3], 0.0F);
  WeightCut bad = good;
  bad.node = "layer9";
  EXPECT_THAT(complaint(model, with(bad)), HasSubstr("no such layer"));
  bad.node = "relu";
  EXPECT_THAT(complaint(model, with(bad)), HasSubstr("expected a conv2d or linear"));
  bad = good;
  bad.keep.pop_back();
  EXPECT_THAT(complaint(model, with(bad)), HasSubstr("found 29"));
  bad = good;
  bad.keep[0] = 2;
  EXPECT_THAT(complaint(model, with(bad)), HasSubstr("expected 0 or 1"));
  bad = good;
  bad.removed = 2;
  EXPECT_THAT(complaint(model, with(bad)), HasSubstr("the plan expects 2"));
  bad.keep.assign(size, 0);
  bad.removed = static_cast<int64_t>(size);
  EXPECT_THAT(complaint(model, with(bad)), HasSubstr("would all be zero"));
  PrunePlan twice = with(good);
  twice.weights.push_back(good);
  EXPECT_THAT(complaint(model, twice), HasSubstr("cut twice"));
}

}  // namespace
}  // namespace elek::test
