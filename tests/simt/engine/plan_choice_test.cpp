// SPDX-License-Identifier: Apache-2.0
// Which of cuDNN's kernels a session takes (plan_store.h, choose.h), with engines of which the test decides what they cost,
// whether they run, and what memory they need.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/backend.h"
#include "tests/golden/session_support.h"
#include "tests/simt/engine/simt_session.h"
#include "tests/support/compare.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class SimtPlanChoice : public SimtSession {
 protected:
  void SetUp() override {
    SimtSession::SetUp();
    options_.probes.values.clear();
  }
  static simt::Engine engine(const std::string& name, double cost_us) {
    simt::Engine made;
    made.name = name;
    made.cost_us = cost_us;
    return made;
  }
  [[nodiscard]] std::string chosen() const { return choices(Session(model_, options_)); }
};

// The device runs these kernels faster than the CPU can start them. Timed call by call, all would look alike and the first
// would be taken.
TEST_F(SimtPlanChoice, TimesTheKernelsAndNotTheCpu) {
  simt::set_call_us(20);
  simt::set_engines({engine("eng1", 5), engine("eng2", 3), engine("eng3", 4)});
  const std::string text = chosen();
  EXPECT_THAT(text, HasSubstr("cuDNN eng2 | timed: eng2 "));
  EXPECT_THAT(text, Not(HasSubstr("cuDNN eng1")));
  EXPECT_THAT(text, Not(HasSubstr("cuDNN eng3")));
}

TEST_F(SimtPlanChoice, TriesOnUntilAKernelRuns) {
  const Environment none("ELEK_CUDNN_BUILD_SECONDS", "0");  // one that must be compiled, in each round
  std::vector<simt::Engine> engines;
  for (int i = 0; i < 12; ++i) {
    engines.push_back(engine("eng" + std::to_string(i), 1));
    engines.back().no_run = "CUDNN_STATUS_EXECUTION_FAILED";
    engines.back().precompiled = i < 9;
  }
  engines.push_back(engine("eng12", 50));
  simt::set_engines(engines);
  EXPECT_THAT(chosen(), HasSubstr("cuDNN eng12 | timed: eng12 50"));
  simt::set_engines({engines.begin(), engines.end() - 1});
  EXPECT_THAT(error_of_session(), HasSubstr("no engine runs it: eng0 (cuDNN refused to run eng0"));
}

TEST_F(SimtPlanChoice, CompilesOnlyAsLongAsItMayAndTakesAllThatAreReady) {
  std::vector<simt::Engine> engines{engine("eng1", 9), engine("eng2", 1), engine("eng3", 5), engine("eng4", 4)};
  engines[2].precompiled = engines[3].precompiled = true;
  simt::set_engines(engines);
  EXPECT_THAT(chosen(), HasSubstr("cuDNN eng2 |"));
  const Environment none("ELEK_CUDNN_BUILD_SECONDS", "0");
  const std::string text = chosen();
  EXPECT_THAT(text, HasSubstr("cuDNN eng4 |"));
  EXPECT_THAT(text, HasSubstr("eng1 9.0 us")) << "one is compiled, if it comes first";
  EXPECT_THAT(text, Not(HasSubstr("eng2")));
}

TEST_F(SimtPlanChoice, RunsFromItsBytesAPlanThatRefusesAsItWasBuilt) {
  std::vector<simt::Engine> engines{engine("eng1", 9), engine("eng2", 3)};
  engines[1].runs_only_reloaded = true;
  simt::set_engines(engines);
  Session session(model_, options_);
  EXPECT_THAT(choices(session), HasSubstr("cuDNN eng2 | timed: eng2 (only from its bytes) 3.0 us"));
  const auto want = run_reference(model_, pixels_, 11);
  const Mismatch m = compare(run_all(session, pixels_, 11, 4), want.logits(),
                             logit_tolerance(options_.precision, 12) * largest(want.logits()));
  EXPECT_EQ(m.count, 0) << m.message();
}

TEST_F(SimtPlanChoice, LeavesOutTheHungriestWhereThereIsNoRoom) {
  std::vector<simt::Engine> engines{engine("eng1", 9), engine("eng2", 1), engine("eng3", 2)};
  engines[1].workspace_bytes = size_t{200} << 20;
  engines[2].workspace_bytes = size_t{100} << 20;
  simt::set_engines(engines);
  EXPECT_THAT(chosen(), HasSubstr("cuDNN eng2 |"));
  simt::reboot({.memory_bytes = size_t{150} << 20});
  const std::string text = chosen();
  EXPECT_THAT(text, HasSubstr("cuDNN eng3 |"));
  EXPECT_THAT(text, HasSubstr("eng2: no room to time it"));
  simt::reboot({.memory_bytes = size_t{50} << 20});
  EXPECT_THAT(chosen(), HasSubstr("cuDNN eng1 |"));
}

// Timing a kernel for the whole batch needs more memory than the session in slices.
TEST_F(SimtPlanChoice, SlicesTheBatchIfItCannotBeTimedWhole) {
  simt::Engine by_batch = engine("eng1", 1);
  simt::set_engines({by_batch});
  options_.batch = 128;
  const size_t whole = [&] {
    const Session session(model_, options_);
    return simt::live_bytes(0);
  }();
  simt::reboot({.memory_bytes = whole / 4});
  const Session session(model_, options_);
  EXPECT_LT(session.program().micro_batch, options_.batch);
}

TEST_F(SimtPlanChoice, TakesTheRawConvolutionWhereItIsFasterWithOurEpilogue) {
  std::vector<simt::Engine> engines{engine("eng1", 900), engine("eng2", 5)};
  engines[1].takes_epilogue = false;
  engines[1].precompiled = true;
  simt::set_engines(engines);
  Session session(model_, options_);
  int64_t split = 0, with_residual = 0;
  for (const ProgramStep& step : session.program().steps) {
    if (!step.node.node.is<Conv2dAttrs>()) continue;
    if (step.node.residual) {
      ++with_residual;
      EXPECT_EQ(step.kernel, "cuDNN eng1") << "its residual is added in place";
    } else {
      ++split;
      EXPECT_EQ(step.kernel, "cuDNN eng2, split, epilogue") << step.choice;
      EXPECT_THAT(step.choice, HasSubstr("<= fused 900.0 us"));
    }
  }
  EXPECT_GE(split, 2);
  EXPECT_GE(with_residual, 1);
  const auto want = run_reference(model_, pixels_, 11);
  const Mismatch m = compare(run_all(session, pixels_, 11, 4), want.logits(),
                             logit_tolerance(options_.precision, 12) * largest(want.logits()));
  EXPECT_EQ(m.count, 0) << m.message();
}

// A session that looks for an order with a smaller arena lowers the network twice, perhaps without a plan cache.
TEST_F(SimtPlanChoice, BuildsNothingTwiceIfOneBackendLowersTwice) {
  simt::set_engines({engine("eng1", 1)});
  const auto backend = backend_of(kGpu.kind).make(kGpu);
  int64_t built[2] = {};
  std::string kernels[2];
  for (size_t turn = 0; turn < 2; ++turn) {
    const int64_t before = simt::kernels_built();
    const auto lowering = backend->lower(model_, fuse(model_.graph), options_);
    built[turn] = simt::kernels_built() - before;
    for (const ProgramStep& step : lowering->program().steps) kernels[turn] += step.kernel + step.choice;
  }
  EXPECT_GT(built[0], 0);
  EXPECT_EQ(built[1], 0);
  EXPECT_EQ(kernels[1], kernels[0]);
}

}  // namespace
}  // namespace elek::test
