// SPDX-License-Identifier: Apache-2.0
// Every network that elek/model.h builds, as the backend really lowers it: the arena equals the lower bound exactly, for
// several batch sizes, watched or not, batch norm unfused or folded, and after channels are removed; and no other legal order
// of the steps needs less. Offsets are checked without the planner's own helpers. Known peaks: ResNet-50 at 224x224 in f32
// needs 5.22 MB of activations per image.
#include <gtest/gtest.h>

#include <algorithm>

#include "backends/backend.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "plan/order.h"
#include "plan/plan.h"
#include "prune/apply.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "tests/golden/session_support.h"

namespace elek {
namespace {

constexpr const char* kNetworks[] = {"resnet18",         "resnet34",         "resnet50",         "resnet101",
                                     "resnet152",        "wide_resnet50_2",  "wide_resnet101_2", "resnext50_32x4d",
                                     "resnext101_32x8d", "resnext101_64x4d", "cifar_resnet20",   "cifar_resnet32",
                                     "cifar_resnet44",   "cifar_resnet56",   "cifar_resnet110"};

/// The network with its own (odd, unless grouped) number for every inner width of every block: like a pruned network, as far as
/// memory is concerned.
Graph thinned(const Graph& dense, uint64_t seed) {
  Random random(seed);
  Graph made;
  for (const Node& node : dense.nodes()) {
    Attrs attrs = node.attrs;
    if (auto* conv = std::get_if<Conv2dAttrs>(&attrs); conv != nullptr) {
      const std::string block = node.name.substr(0, node.name.find_last_of('.') + 1);
      const bool bottleneck = dense.find(block + "conv3") >= 0;
      const bool inner = !block.empty() && node.name.ends_with("conv1");
      if (inner || (bottleneck && node.name.ends_with("conv2"))) {
        const int64_t groups = bottleneck ? dense.node(dense.at(block + "conv2")).as<Conv2dAttrs>().groups : 1;
        conv->out_channels =
            groups * (1 + static_cast<int64_t>(random.below(static_cast<uint64_t>(conv->out_channels / groups))));
      }
    }
    made.add(node.name, attrs, node.inputs);
  }
  made.set_output(dense.output());
  return made;
}

struct Lowered {
  std::unique_ptr<Lowering> lowering;
  MemoryPlan plan;
};

Lowered lower_and_plan(Graph graph, const LowerOptions& options, const std::vector<std::string>& order = {}) {
  Model model;
  model.preprocessing = default_preprocessing(graph.input_shape().channels);
  model.graph = std::move(graph);
  Lowered made;
  made.lowering = backend_of(DeviceKind::kCpu).make({})->lower(model, fuse(model.graph, order), options);
  made.plan = plan(made.lowering->program());
  return made;
}

void expect_sound_and_tight(const Lowered& made, const std::string& what, bool may_improve = false) {
  struct Range {
    size_t offset, bytes;
    int32_t first, last;
  };
  const Program& program = made.lowering->program();
  std::vector<Range> ranges;
  for (size_t i = 0; i < program.storages.size(); ++i) {
    const Storage& s = program.storages[i];
    ranges.push_back({made.plan.storage_offsets[i], s.bytes, s.first_step, s.last_step});
  }
  std::vector<size_t> live(program.steps.size(), 0);
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const auto now = static_cast<int32_t>(i);
    ranges.push_back({made.plan.workspace_offsets[i], program.steps[i].workspace_bytes, now, now});
  }
  for (size_t i = 0; i < ranges.size(); ++i) {
    const Range& a = ranges[i];
    ASSERT_EQ(a.offset % 256, 0U) << what;
    ASSERT_LE(a.offset + a.bytes, made.plan.arena_bytes) << what;
    for (int32_t s = a.first; s <= a.last; ++s) live[static_cast<size_t>(s)] += (a.bytes + 255) / 256 * 256;
    for (size_t j = 0; j < i; ++j) {
      const Range& b = ranges[j];
      const bool together = a.bytes > 0 && b.bytes > 0 && a.first <= b.last && b.first <= a.last;
      ASSERT_FALSE(together && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes)
          << what << ": ranges " << j << " and " << i;
    }
  }
  EXPECT_EQ(made.plan.lower_bound_bytes, *std::max_element(live.begin(), live.end())) << what;
  EXPECT_EQ(made.plan.arena_bytes, made.plan.lower_bound_bytes) << what;
  const StepOrder order = search_order(program);
  EXPECT_EQ(order.own_bound_bytes, made.plan.lower_bound_bytes) << what << ": the search reckons as the program does";
  EXPECT_TRUE(may_improve || order.nodes.empty()) << what << ": another order needs " << order.bound_bytes << " bytes";
}

/// Odd widths, and wide ones whose kernels need workspace, may need another order than the declared one. Then that order is
/// lowered, and needs what the search found.
void expect_tight_in_the_best_order(const Graph& graph, const LowerOptions& options, const std::string& what) {
  const Lowered own = lower_and_plan(graph, options);
  expect_sound_and_tight(own, what, /*may_improve=*/true);
  const StepOrder order = search_order(own.lowering->program());
  if (order.nodes.empty()) return;
  const Lowered best = lower_and_plan(graph, options, order.nodes);
  expect_sound_and_tight(best, what + ", best order");
  EXPECT_EQ(best.plan.lower_bound_bytes, order.bound_bytes) << what;
}

class PlanBound : public ::testing::TestWithParam<const char*> {};

TEST_P(PlanBound, ArenaEqualsTheBound) {
  const Graph graph = build_resnet(resnet_spec(GetParam()));
  for (const int64_t batch : {1, 3, 16, 50}) {
    for (const int64_t micro : {int64_t{0}, batch}) {
      for (const BatchNorm norm : {BatchNorm::kFold, BatchNorm::kApart}) {
        LowerOptions options;
        options.batch = batch;
        options.micro_batch = micro;
        options.threads = 2;
        options.batch_norm = norm;
        const std::string what =
            std::string(GetParam()) + " batch " + std::to_string(batch) + " slice " + std::to_string(micro);
        expect_tight_in_the_best_order(graph, options, what);
      }
    }
  }
}

/// Micro-batches of many sizes, each a whole batch (a larger batch runs in several): every size up to 64 for ResNet-18, some
/// odd and even ones for the others.
TEST_P(PlanBound, ArenaEqualsTheBoundAtManyBatchSizes) {
  const Graph graph = build_resnet(resnet_spec(GetParam()));
  std::vector<int64_t> batches{2, 5, 7, 8, 11, 13, 17, 24, 31, 32, 33, 48, 64, 100, 127, 256};
  if (GetParam() == std::string("resnet18")) {
    for (int64_t batch = 1; batch <= 64; ++batch) batches.push_back(batch);
  }
  for (const int64_t batch : batches) {
    LowerOptions options;
    options.batch = options.micro_batch = batch;
    options.threads = 2;
    expect_tight_in_the_best_order(graph, options, std::string(GetParam()) + " batch " + std::to_string(batch));
  }
}

TEST_P(PlanBound, ArenaEqualsTheBoundWhenEveryBlockIsWatched) {
  const Graph graph = build_resnet(resnet_spec(GetParam()));
  LowerOptions options;
  options.batch = 4;
  options.threads = 2;
  for (const FusedNode& step : fuse(graph).steps) {
    if (step.node.is<Conv2dAttrs>()) options.probes.values[graph.node(step.output).name] = kActivity | kMoments;
  }
  ASSERT_FALSE(options.probes.values.empty());
  expect_sound_and_tight(lower_and_plan(graph, options), std::string(GetParam()) + " watched");
}

TEST_P(PlanBound, ArenaEqualsTheBoundWhenThinned) {
  const Graph graph = build_resnet(resnet_spec(GetParam()));
  for (uint64_t seed = 0; seed < 4; ++seed) {
    LowerOptions options;
    options.batch = 1 + static_cast<int64_t>(seed);
    options.threads = 2;
    expect_tight_in_the_best_order(thinned(graph, seed), options,
                                   std::string(GetParam()) + " thinned, seed " + std::to_string(seed));
  }
}

/// Channels removed as the command removes them, block by block and stage by stage.
TEST(PlanBoundPruned, ArenaEqualsTheBoundOfPrunedNetworks) {
  for (const char* name : {"cifar_resnet20", "cifar_resnet56", "resnet18", "resnet50", "resnext50_32x4d"}) {
    Model dense;
    dense.graph = build_resnet(resnet_spec(name));
    dense.preprocessing = default_preprocessing(3);
    for (const ParameterSpec& spec : required_parameters(dense.graph)) {  // zeros will do: shapes are what counts
      auto tensor = std::make_shared<Tensor>(spec.shape, DType::kF32, host_resource(), spec.name);
      std::fill(tensor->f32().begin(), tensor->f32().end(), 0.0F);
      dense.parameters.emplace(spec.name, std::move(tensor));
    }
    const std::vector<Group> groups = find_groups(dense.graph);
    const std::vector<std::vector<double>> scores = [&] {
      Random random(7);
      std::vector<std::vector<double>> made;
      for (const Group& group : groups) {
        made.emplace_back(group.prunable ? static_cast<size_t>(group.channels) : 0);
        for (double& score : made.back()) score = random.uniform();
      }
      return made;
    }();
    for (const double share : {0.3, 0.5}) {
      ChannelTarget target;
      target.share = share;
      const Model pruned = apply(dense, select_channels(groups, scores, dense.graph, target), host_resource());
      ASSERT_LT(parameter_count(pruned), parameter_count(dense));
      for (const int64_t batch : {1, 2, 7, 16, 33, 64}) {
        LowerOptions options;
        options.batch = options.micro_batch = batch;
        options.threads = 2;
        expect_tight_in_the_best_order(pruned.graph, options, std::string(name) + " pruned by " + std::to_string(share));
      }
    }
  }
}

/// Two branches declared in turns: wide values of both would be alive at once. A session runs one after the other, and gives
/// the same logits as one that keeps the order.
TEST(PlanBoundOrder, ASessionRunsTheOrderThatNeedsLeast) {
  Graph graph;
  ValueId x = graph.add("input", InputAttrs{{3, 24, 24}}, {});
  x = graph.add("stem", Conv2dAttrs{8, 3, 1, 1, 1, true}, {x});
  const ValueId wide_a = graph.add("a.wide", Conv2dAttrs{96, 1, 1, 0, 1, true}, {x});
  const ValueId wide_b = graph.add("b.wide", Conv2dAttrs{96, 1, 1, 0, 1, true}, {x});
  const ValueId a = graph.add("a.thin", Conv2dAttrs{8, 1, 1, 0, 1, true}, {wide_a});
  const ValueId b = graph.add("b.thin", Conv2dAttrs{8, 1, 1, 0, 1, true}, {wide_b});
  x = graph.add("relu", ReluAttrs{}, {graph.add("sum", AddAttrs{}, {a, b})});
  x = graph.add("flatten", FlattenAttrs{}, {graph.add("pool", GlobalAvgPoolAttrs{}, {x})});
  (void)graph.add("fc", LinearAttrs{5, true}, {x});
  Model model;
  model.graph = graph;
  model.parameters = test::tiny_parameters(graph, 3);
  model.preprocessing = default_preprocessing(3);
  SessionOptions options;
  options.batch = options.micro_batch = 4;
  options.probes.values["relu"] = kActivity;
  Session session(model, options);
  const Lowered as_declared = lower_and_plan(graph, options);
  EXPECT_LT(session.memory().lower_bound_bytes, as_declared.plan.lower_bound_bytes);
  EXPECT_EQ(session.memory().arena_bytes, session.memory().lower_bound_bytes);
  EXPECT_GT(session.plan().orders, 1.0);
  options.keep_values = true;
  Session declared(model, options);
  const std::vector<uint8_t> pixels = test::tiny_pixels(graph.input_shape(), 4, 5);
  const std::vector<float> got = test::run_all(session, pixels, 4, 4), want = test::run_all(declared, pixels, 4, 4);
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5F * std::max(1.0F, std::fabs(want[i])));
  EXPECT_EQ(session.statistics().values.at("relu").active, declared.statistics().values.at("relu").active);
}

INSTANTIATE_TEST_SUITE_P(All, PlanBound, ::testing::ValuesIn(kNetworks),
                         [](const auto& network) { return std::string(network.param); });

TEST(PlanBoundFigures, ResNet50NeedsWhatTheLessonSays) {
  LowerOptions options;
  options.batch = 1;
  options.threads = 1;
  const Lowered made = lower_and_plan(build_resnet(resnet_spec("resnet50")), options);
  EXPECT_NEAR(static_cast<double>(made.plan.activations_bound_bytes), 5.22e6, 0.005e6);
}

/// memory() before binding equals what binding then allocates.
TEST(PlanBoundFigures, LoweringKnowsWhatBindingTakes) {
  Model model;
  model.graph = build_resnet(resnet_spec("cifar_resnet20"));
  model.preprocessing = default_preprocessing(3);
  model.parameters = random_parameters(model.graph, 1, host_resource());
  LowerOptions options;
  options.batch = 7;
  options.threads = 2;
  options.probes.values["layer1.0"] = kActivity;
  const auto lowering = backend_of(DeviceKind::kCpu).make({})->lower(model, fuse(model.graph), options);
  const BoundMemory before = lowering->memory();
  const MemoryPlan made = plan(lowering->program());
  Tracker tracker(host_resource());
  const auto executable = lowering->bind(model, made, tracker);
  const BoundMemory after = executable->memory();
  EXPECT_EQ(before.weights_bytes, after.weights_bytes);
  EXPECT_EQ(before.statistics_bytes, after.statistics_bytes);
  EXPECT_EQ(before.staging_bytes, after.staging_bytes);
  const size_t at_rest = before.weights_bytes + before.statistics_bytes + before.staging_bytes + made.arena_bytes;
  EXPECT_EQ(tracker.figures().live_bytes, at_rest);
  EXPECT_GT(before.packing_bytes, 0U);
  EXPECT_LE(before.packing_bytes, made.arena_bytes);  // so packing takes no memory of its own:
  EXPECT_EQ(tracker.figures().peak_bytes, at_rest);
}

// A refused session tries smaller micro-batches with the same parameters: no parameter may be dropped before all memory is
// allocated.
TEST(Binding, DropsParametersOnlyOnceNothingCanBeRefused) {
  ResNetSpec spec = resnet_spec("resnet18");
  spec.input = {3, 32, 32};
  Model model;
  model.graph = build_resnet(spec);
  model.preprocessing = default_preprocessing(3);
  model.parameters = random_parameters(model.graph, 1, host_resource());
  const size_t count = model.parameters.size();
  LowerOptions options;
  options.batch = 1;  // packing needs more than the arena
  options.threads = 2;
  const auto lower = [&] { return backend_of(DeviceKind::kCpu).make({})->lower(model, fuse(model.graph), options); };
  auto lowering = lower();
  const MemoryPlan made = plan(lowering->program());
  const BoundMemory bound = lowering->memory();
  ASSERT_GT(bound.packing_bytes, made.arena_bytes);
  const size_t most = bound.weights_bytes + bound.statistics_bytes + bound.staging_bytes + bound.packing_bytes;
  Limit tight(host_resource(), most - 1), enough(host_resource(), most);
  EXPECT_THROW((void)lowering->bind(model, made, tight), OutOfMemory);
  EXPECT_EQ(model.parameters.size(), count);

  const Model shared = model;  // its tensors stay
  const auto executable = lower()->bind(model, made, enough);
  for (const auto& [name, tensor] : model.parameters) EXPECT_LE(tensor->shape().dims().size(), 1U) << name << " is still there";
  EXPECT_EQ(shared.parameters.size(), count);
}

TEST(Binding, ASessionKeepsNoParameters) {
  Tracker memory(host_resource());
  Model model;
  model.graph = build_resnet(resnet_spec("cifar_resnet20"));
  model.preprocessing = default_preprocessing(3);
  model.parameters = random_parameters(model.graph, 1, memory);
  SessionOptions options;
  options.memory = &memory;
  const Session session(std::move(model), options);
  const SessionMemory m = session.memory();
  EXPECT_EQ(memory.figures().live_bytes, m.weights_bytes + m.arena_bytes + m.statistics_bytes + m.staging_bytes);
}

}  // namespace
}  // namespace elek
