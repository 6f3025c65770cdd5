// SPDX-License-Identifier: Apache-2.0
// What a session may ask of its memory resource: four allocations that stay, none while running, at most 2 MB more with
// statistics than without, and no more for more batches. Also: the arena of ResNets meets the lower bound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/memory/ledger.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "elek/session.h"
#include "engine/estimate.h"
#include "plan/program.h"
#include "prune/apply.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "tests/golden/session_support.h"
#include "tests/support/compare.h"

namespace elek {
namespace {

constexpr size_t kMegabyte = 1000000;

Model resnet(const std::string& arch, Stem stem, const ImageShape& input, const std::vector<int64_t>& widths = {}) {
  ResNetSpec spec = resnet_spec(arch);
  if (!widths.empty()) spec.widths = widths;
  spec.stem = stem;
  spec.input = input;
  spec.classes = 10;
  Model model;
  model.graph = build_resnet(spec);
  model.parameters = random_parameters(model.graph, 3, host_resource());
  model.preprocessing = default_preprocessing(input.channels);
  return model;
}

/// The default set of sums on every stored value but the input, and Wanda's norms.
Probes default_probes(const Model& model) {
  Probes probes;
  for (const std::string& name : test::stored_names(model)) probes.values[name] = kActivity;
  probes.values.erase(probes.values.find("input"));
  probes.tap_norms = test::kernel_names(model);
  return probes;
}

Tracker::Figures run_batches(const Model& model, const Probes& probes, int64_t batches) {
  Tracker tracker(host_resource());
  SessionOptions options;
  options.batch = 50;
  options.probes = probes;
  options.memory = &tracker;
  Session session(model, options);
  const auto built = tracker.figures();
  const auto pixels = test::tiny_pixels(model.graph.input_shape(), 50, 1);
  for (int64_t i = 0; i < batches; ++i) (void)test::run_all(session, pixels, i + 1 == batches ? 37 : 50, 50);
  (void)session.statistics();
  const auto after = tracker.figures();
  EXPECT_EQ(after.allocations, built.allocations) << "a run allocated";
  EXPECT_EQ(after.deallocations, built.deallocations) << "a run deallocated";
  EXPECT_EQ(after.peak_bytes, built.peak_bytes);
  const SessionMemory memory = session.memory();
  EXPECT_EQ(after.live_bytes, memory.weights_bytes + memory.arena_bytes + memory.statistics_bytes + memory.staging_bytes);
  EXPECT_EQ(after.allocations - after.deallocations, probes.empty() ? 3 : 4);
  EXPECT_EQ(memory.arena_bytes, session.plan().arena_bytes);
  EXPECT_LE(memory.lower_bound_bytes, memory.arena_bytes);
  EXPECT_EQ(memory.statistics_bytes == 0, probes.empty());
  return after;
}

TEST(Memory, CollectionCostsAtMostTwoMegabytes) {
  const Model model = resnet("resnet18", Stem::kCifar, {3, 32, 32});
  const auto plain = run_batches(model, {}, 1);
  const auto watched = run_batches(model, default_probes(model), 1);
  EXPECT_GT(watched.live_bytes, plain.live_bytes);
  EXPECT_LE(watched.live_bytes, plain.live_bytes + 2 * kMegabyte);
  EXPECT_LE(watched.peak_bytes, plain.peak_bytes + 2 * kMegabyte);
  RecordProperty("plain_live_bytes", std::to_string(plain.live_bytes));
  RecordProperty("watched_live_bytes", std::to_string(watched.live_bytes));
}

TEST(Memory, IsTheSameForTenAndFortyBatches) {
  const Model model = resnet("resnet18", Stem::kCifar, {3, 16, 16}, {8, 16, 24, 32});
  const Probes probes = default_probes(model);
  const auto ten = run_batches(model, probes, 10);
  const auto forty = run_batches(model, probes, 40);
  EXPECT_EQ(ten.peak_bytes, forty.peak_bytes);
  EXPECT_EQ(ten.allocations, forty.allocations);
}

TEST(Memory, TheArenaMeetsTheLowerBound) {
  for (const char* arch : {"resnet18", "resnet50"}) {
    const Model model = resnet(arch, Stem::kImageNet, {3, 224, 224});
    SessionOptions options;
    options.batch = 1;
    const Session session(model, options);
    const SessionMemory memory = session.memory();
    EXPECT_EQ(memory.arena_bytes, memory.lower_bound_bytes) << arch;
    RecordProperty(std::string(arch) + "_arena_bytes", std::to_string(memory.arena_bytes));
  }
}

/// Dense and pruned network together: only what the cut changed is in memory twice, to the byte.
TEST(Memory, APrunedModelSharesWhatTheCutDoesNotTouch) {
  Tracker tracker(host_resource());
  {
    Model dense = test::tiny_resnet({.widths = {8, 16}}, tracker);
    const size_t dense_bytes = tracker.figures().live_bytes;
    EXPECT_EQ(dense_bytes, parameter_bytes(dense));
    const std::vector<Group> groups = find_groups(dense.graph);
    PrunePlan plan;
    for (const Group& group : groups) {  // one group of the first block, a channel of it
      if (!group.prunable || group.producers.size() != 1 || !plan.groups.empty()) continue;
      GroupCut cut{group.name, group.channels, {}, std::vector<double>(static_cast<size_t>(group.channels), 1.0)};
      for (int64_t c = 1; c < group.channels; ++c) cut.keep.push_back(c);
      plan.groups.push_back(cut);
    }
    ASSERT_EQ(plan.groups.size(), 1U);
    const Model pruned = apply(dense, plan, tracker);
    size_t own = 0, shared = 0;
    for (const auto& [name, tensor] : pruned.parameters) {
      (tensor == dense.parameters.at(name) ? shared : own) += tensor->bytes();
      EXPECT_EQ(tensor == dense.parameters.at(name), tensor->shape() == dense.parameters.at(name)->shape()) << name;
    }
    EXPECT_EQ(tracker.figures().live_bytes, dense_bytes + own) << "a shared tensor is held once";
    EXPECT_GT(own, 0U);
    EXPECT_GT(shared, own) << "one group of many";
    dense.parameters.clear();
    EXPECT_EQ(tracker.figures().live_bytes, own + shared) << "what the dense model alone used went with it";
  }
  EXPECT_EQ(tracker.figures().live_bytes, 0U);
}

/// Under a budget a session uses smaller micro-batches if it may choose them, then kernels of less workspace. Otherwise it is
/// refused, with figures, and leaves nothing behind.
TEST(Memory, ABudgetIsHonouredOrRefused) {
  const Model model = test::tiny_resnet();
  Tracker tracker(host_resource());
  SessionOptions options;
  options.batch = 4;
  options.memory = &tracker;
  size_t needed = 0;
  {
    const Session session(model, options);
    needed = tracker.figures().peak_bytes;
  }
  Limit enough(tracker, needed);
  options.memory = &enough;
  EXPECT_NO_THROW(Session(model, options));
  Limit little(tracker, needed - 1);
  options.memory = &little;
  {
    const Session session(model, options);
    EXPECT_LT(session.program().micro_batch, options.batch);
  }
  options.micro_batch = options.batch;
  {
    const Session session(model, options);
    EXPECT_EQ(session.program().micro_batch, options.batch);
    EXPECT_LE(tracker.figures().live_bytes, needed - 1);
  }
  options.micro_batch = 0;
  Limit hopeless(tracker, size_t{1} << 12);
  options.memory = &hopeless;
  EXPECT_THROW(Session(model, options), OutOfMemory);
  EXPECT_EQ(tracker.figures().live_bytes, 0U);
}

/// One byte less than the usual kernels need, and then one byte less than the session that came of it, as often as a session
/// comes: each stays under its limit and computes the reference's logits. Then none comes.
TEST(Memory, KernelsOfLessWorkspaceAreTakenBeforeARefusal) {
  Model model;
  model.graph = build_resnet(resnet_spec("cifar_resnet20"));
  model.preprocessing = default_preprocessing(3);
  model.parameters = random_parameters(model.graph, 1, host_resource());
  const auto pixels = test::tiny_pixels(model.graph.input_shape(), 1, 5);
  const auto want = test::run_reference(model, pixels, 1).logits();
  for (const int threads : {1, 2}) {
    SessionOptions options;
    options.batch = 1;
    options.threads = threads;
    options.memory = &host_resource();
    const SessionEstimate usual = estimate_memory(model, options);
    const auto needs = [](const SessionEstimate& e) {
      const SessionMemory& m = e.memory;
      return m.weights_bytes + std::max(m.arena_bytes, e.packing_bytes) + m.statistics_bytes + m.staging_bytes;
    };
    size_t limit_bytes = needs(usual);
    int smaller = 0;
    for (;; ++smaller) {
      --limit_bytes;
      Limit limit(host_resource(), limit_bytes);
      Tracker tracker(limit);
      options.memory = &tracker;
      try {
        Session session(model, options);
        const std::vector<float> got = test::run_all(session, pixels, 1, 1);
        const auto m = test::compare(got, want, 2e-5 * test::largest(want));
        EXPECT_EQ(m.count, 0) << threads << " threads, limit " << limit_bytes << ": " << m.message();
        EXPECT_LT(session.memory().workspace_bytes, usual.memory.workspace_bytes);
        ASSERT_LE(tracker.figures().peak_bytes, limit_bytes);
        limit_bytes = tracker.figures().peak_bytes;
      } catch (const OutOfMemory& error) {
        EXPECT_THAT(std::string(error.what()), ::testing::HasSubstr("plan: weights"));
        break;
      }
    }
    EXPECT_GE(smaller, 2) << threads << " threads";
    EXPECT_LT(limit_bytes, needs(usual) - usual.memory.workspace_bytes / 4);
    EXPECT_EQ(limit_bytes + 1, needs(estimate_memory(model, options, 0))) << "the least is what the estimate says";
  }
}

/// A pool returns its unused memory before a session asks for its slabs. So neither the session's attempts nor --max-batch
/// depend on what others left in the pool.
TEST(Memory, ASessionMeetsATrimmedPool) {
  const Model model = test::tiny_resnet();
  constexpr size_t kLeft = size_t{64} << 20;
  Pool pool(host_resource());
  Ledger ledger(pool);
  Tracker tracker(ledger);  // through every policy
  { const Buffer left(kLeft, tracker, "left behind"); }
  EXPECT_EQ(pool.figures().reserved_bytes, kLeft);
  SessionOptions options;
  options.batch = 4;
  options.memory = &tracker;
  const Session session(model, options);
  EXPECT_LT(pool.figures().reserved_bytes, kLeft);
}

}  // namespace
}  // namespace elek
