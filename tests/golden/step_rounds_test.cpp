// SPDX-License-Identifier: Apache-2.0
// Rounds of timed steps, their rows, and two networks side by side: which steps are there, that works and roofs are those of
// engine/profile.h, and that the figures follow from each other. No test asks how fast anything is.
#include "engine/step_rounds.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "core/error.h"
#include "engine/beside.h"
#include "tests/golden/session_support.h"

namespace elek {
namespace {

/// 1 GFLOP/s and 1 GB/s: convolutions are bound by computing.
Peaks slow_machine() { return {1e9, {{1000, 1e9, 1e9}}}; }

SessionOptions two_images() {
  SessionOptions options;
  options.batch = 2;
  options.threads = 1;
  return options;
}

Model narrow() {
  test::TinyOptions tiny;
  tiny.widths = {3, 6, 12};
  return test::tiny_resnet(tiny);
}

TEST(StepRounds, HoldTheMediansOfTheirRounds) {
  Session session(test::tiny_resnet({}), two_images());
  StepRounds rounds(session, 1);
  EXPECT_EQ(rounds.count(), 0U) << "runs to warm up do not count";
  for (const EnoughRounds enough(0); !enough(rounds.count());) rounds.take(rounds.count() % 2 == 1);
  EXPECT_EQ(rounds.count(), 5U);
  const StepMedians medians = rounds.medians();
  EXPECT_EQ(medians.runs_ms.size(), 5U);
  EXPECT_TRUE(std::is_sorted(medians.runs_ms.begin(), medians.runs_ms.end()));
  EXPECT_EQ(medians.step_us.size(), session.program().steps.size());
  EXPECT_GE(medians.rest_us, 0);
}

TEST(StepRounds, RowsHaveTheStepsWorkAndRoof) {
  const Model model = test::tiny_resnet({});
  Session session(model, two_images());
  const Program& program = session.program();
  StepMedians measured;
  for (size_t i = 0; i < program.steps.size(); ++i) measured.step_us.push_back(1.0 + static_cast<double>(i));
  const std::vector<StepRow> rows = rows_of(session, measured, slow_machine());
  ASSERT_EQ(rows.size(), program.steps.size());
  double flops = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].step, &program.steps[i]);
    EXPECT_EQ(rows[i].us, measured.step_us[i]);
    const StepWork work = work_of(session.graph(), program, i, 2);
    EXPECT_EQ(rows[i].work.kernel_flops, work.kernel_flops);
    EXPECT_DOUBLE_EQ(rows[i].share_of_peak(), rows[i].roof.us / rows[i].us);
    EXPECT_DOUBLE_EQ(rows[i].flops_per_second(), 1e6 * work.flops / rows[i].us);
    if (rows[i].roof.bound == Bound::kCompute) {
      EXPECT_DOUBLE_EQ(rows[i].roof.us, 1e6 * work.kernel_flops / 1e9);
      EXPECT_DOUBLE_EQ(roof_with(session, i, 1.0, slow_machine()).us, 1e6 * work.flops / 1e9) << "all multiply-adds";
    }
    flops += rows[i].work.flops;
  }
  EXPECT_EQ(flops, 2.0 * 2 * static_cast<double>(macs(model.graph)));
}

TEST(Beside, FiguresFollowFromTheStepsOfBothNetworks) {
  const Model dense = test::tiny_resnet({}), pruned = narrow();
  EXPECT_NO_THROW(check_beside(dense.graph, pruned.graph));
  Session first(dense, two_images()), second(pruned, two_images());
  const Beside beside = profile_beside(first, second, 0, 1, slow_machine());
  EXPECT_EQ(beside.runs, 5U);
  EXPECT_EQ(beside.batch, 2);
  EXPECT_GT(beside.allowed, 1);
  ASSERT_FALSE(beside.steps.empty());
  for (const BesideStep& step : beside.steps) {
    const int64_t channels = dense.graph.node(dense.graph.at(step.name)).shape.channels;
    EXPECT_EQ(step.dense.outputs, channels) << step.name;
    EXPECT_EQ(step.pruned.outputs, pruned.graph.node(pruned.graph.at(step.name)).shape.channels) << step.name;
    EXPECT_DOUBLE_EQ(step.speed_up(), step.dense.us / step.pruned.us);
    EXPECT_DOUBLE_EQ(step.allowed(), step.dense.roof_us / step.pruned.roof_us);
    EXPECT_DOUBLE_EQ(step.lost_us(), step.pruned.us - step.dense.us / step.allowed());
    EXPECT_FALSE(step.dense.kernel.empty());
  }
}

TEST(Beside, TheSameNetworkMayNotBeFaster) {
  const Model dense = test::tiny_resnet({});
  Session first(dense, two_images()), second(dense, two_images());
  const Beside beside = profile_beside(first, second, 0, 1, slow_machine());
  EXPECT_EQ(beside.allowed, 1);
  for (const BesideStep& step : beside.steps) EXPECT_EQ(step.allowed(), 1) << step.name;
}

TEST(Beside, SwappedAndStrangeNetworksAreRefused) {
  EXPECT_THROW(check_beside(narrow().graph, test::tiny_resnet({}).graph), UsageError);
  const Model dense = test::tiny_resnet({});
  test::TinyOptions shallow;
  shallow.blocks = 1;
  Session first(dense, two_images()), second(test::tiny_resnet(shallow), two_images());
  EXPECT_THROW((void)profile_beside(first, second, 0, 1, slow_machine()), InputError);
}

}  // namespace
}  // namespace elek
