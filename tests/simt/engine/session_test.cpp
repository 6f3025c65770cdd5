// SPDX-License-Identifier: Apache-2.0
// Sessions on the stand-in device, for situations that cannot be arranged on a GPU: engines that are slow, refuse or compute
// wrong results in place; every order of copies and passes; a fault or a refusal at any point; two devices. Values are tested
// by tests/gpu/session_test.cpp, which runs here too.
#include "elek/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "core/sums.h"
#include "graph/passes.h"
#include "plan/program.h"
#include "tests/golden/session_support.h"
#include "tests/gpu/gpu.h"
#include "tests/simt/engine/simt_session.h"
#include "tests/simt/libraries/libraries.h"
#include "tests/simt/runtime.h"
#include "tests/support/compare.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// Keeps the stand-in's plans out of the user's cache.
class NoCache : public ::testing::Environment {
 public:
  void SetUp() override { setenv("ELEK_CACHE_DIR", "off", 1); }
};
[[maybe_unused]] const auto* const no_cache = ::testing::AddGlobalTestEnvironment(new NoCache);

TEST_F(SimtSession, KeepsTheFastestEngineThatBuildsRunsAndFits) {
  const Session session(model_, options_);
  const std::string text = choices(session);
  for (const ProgramStep& step : session.program().steps) {
    if (!step.node.node.is<Conv2dAttrs>()) continue;
    EXPECT_EQ(step.kernel, "cuDNN eng4_k2=2, fused") << "the two that are faster do not run or ask for too much";
  }
  EXPECT_THAT(text, HasSubstr("fused 9.0 us <= split, observe"));
  EXPECT_THAT(text, HasSubstr("eng7_k2=1 11.0 us"));
  EXPECT_THAT(text, HasSubstr("eng2 (cuDNN refused to run eng2: CUDNN_STATUS_EXECUTION_FAILED)"));
  EXPECT_THAT(text, Not(HasSubstr("eng9")));
}

TEST_F(SimtSession, SplitsWhereThatIsFasterOrNothingElseIsToBeHadAndSaysWhy) {
  auto engines = simt::usual_engines();
  for (simt::Engine& engine : engines) engine.sums_cost_us = 1000;
  simt::set_engines(engines);
  EXPECT_THAT(choices(Session(model_, options_)), HasSubstr("cuDNN eng4_k2=2, split, observe | split, observe"));
  for (simt::Engine& engine : engines) engine.takes_sums = false;
  simt::set_engines(engines);
  const std::string text = choices(Session(model_, options_));
  EXPECT_THAT(text, HasSubstr("fused: no engine takes it: eng7_k2=1: no sums"));
  EXPECT_THAT(text, Not(HasSubstr(", fused")));
  for (simt::Engine& engine : engines) engine.no_build = "CUDNN_STATUS_NOT_SUPPORTED";
  simt::set_engines(engines);
  const auto [error, hint] = error_and_hint();
  EXPECT_THAT(error, HasSubstr("convolution 'conv1'"));
  EXPECT_THAT(error, HasSubstr("eng7_k2=1: CUDNN_STATUS_NOT_SUPPORTED"));
  EXPECT_EQ(hint, Hint::kOtherPrecision);
}

TEST_F(SimtSession, WritesOverAResidualOnlyWhereTheEngineIsRightThen) {
  const auto want = run_reference(model_, pixels_, 11);
  const double tolerance = logit_tolerance(options_.precision, 12) * largest(want.logits());
  size_t arena[2] = {};
  for (const bool safe : {false, true}) {
    auto engines = simt::usual_engines();
    for (simt::Engine& engine : engines) engine.safe_in_place = safe;
    simt::set_engines(engines);
    Session session(model_, options_);
    EXPECT_THAT(choices(session), HasSubstr(safe ? "residual overwritten" : "residual apart: its result differs in place"));
    const Mismatch m = compare(run_all(session, pixels_, 11, 4), want.logits(), tolerance);
    EXPECT_EQ(m.count, 0) << m.message();
    arena[safe ? 1 : 0] = session.memory().arena_bytes;
  }
  EXPECT_LT(arena[1], arena[0]);
}

// f32 partial sums in any order: at most count * 2^-24 of the sum of absolute terms. Counts are exact.
TEST_F(SimtSession, SumsAreOfWhatWasStoredFusedOrSplitWholeOrPartial) {
  options_.keep_values = true;
  for (const bool deterministic : {false, true}) {
    options_.deterministic = deterministic;
    Session session(model_, options_);
    EXPECT_THAT(choices(session), HasSubstr(deterministic ? ", split, observe" : ", fused"));
    for (const int64_t samples : {int64_t{4}, int64_t{3}}) {
      session.reset_statistics();
      (void)run_all(session, pixels_, samples, samples);
      const Statistics statistics = session.statistics();
      ASSERT_FALSE(statistics.values.empty());
      for (const auto& [name, sums] : statistics.values) {
        const ImageShape& shape = model_.graph.node(model_.graph.at(name)).shape;
        const ChannelSums want = channel_sums(session.stored_value(name), samples, shape, options_.probes.threshold);
        EXPECT_EQ(sums.count, want.count) << name;
        EXPECT_EQ(sums.active, want.active) << name;
        const double share = static_cast<double>(want.count) * 0x1p-24;
        for (size_t c = 0; c < want.sum.size(); ++c) {
          EXPECT_NEAR(sums.sum[c], want.sum[c], share * want.abs_sum[c] + 1e-30) << name << " " << c;
          EXPECT_NEAR(sums.sum_sq[c], want.sum_sq[c], share * want.sum_sq[c] + 1e-30) << name << " " << c;
        }
      }
    }
  }
}

class SimtCache : public SimtSession {
 protected:
  void SetUp() override {
    SimtSession::SetUp();
    directory_ = ::testing::TempDir() + "/elek_simt_cache_" + std::to_string(getpid());
    std::filesystem::remove_all(directory_);
    environment_.emplace("ELEK_CACHE_DIR", directory_);
  }
  void TearDown() override {
    environment_.reset();
    std::filesystem::remove_all(directory_);
    SimtSession::TearDown();
  }
  /// Number of kernels that cuDNN builds for one more session.
  [[nodiscard]] int64_t built() {
    const int64_t before = simt::kernels_built();
    Session session(model_, options_);
    if (logits_.empty()) logits_ = run_all(session, pixels_, 4, 4);
    EXPECT_EQ(run_all(session, pixels_, 4, 4), logits_);
    return simt::kernels_built() - before;
  }
  [[nodiscard]] std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> found;
    for (const auto& file : std::filesystem::directory_iterator(directory_ + "/plans")) found.push_back(file.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  std::string directory_;
  std::optional<Environment> environment_;
  std::vector<float> logits_;
};

TEST_F(SimtCache, BuildsNothingTwiceAndBuildsAgainWhatIsCorruptOrForeign) {
  EXPECT_GT(built(), 0);
  EXPECT_EQ(built(), 0);
  const auto plans = files();
  ASSERT_GE(plans.size(), 3U);
  std::filesystem::resize_file(plans[0], 40);                                                         // corrupt
  std::filesystem::copy_file(plans[2], plans[1], std::filesystem::copy_options::overwrite_existing);  // foreign
  EXPECT_EQ(built(), 2 * 5) << "five engines build, for each of two problems";
  EXPECT_EQ(built(), 0) << "and they were written over";
  auto engines = simt::usual_engines();
  engines[1].name = "eng4_k2=3";  // another cuDNN's engines under the old version's number
  simt::set_engines(engines);
  EXPECT_GT(built(), 0) << "cuDNN does not take the cached plan";
  EXPECT_EQ(built(), 0);
}

TEST_F(SimtCache, IsOfOneDeviceShapeTypeAndEpilogue) {
  EXPECT_GT(built(), 0);
  const size_t first = files().size();
  logits_.clear();
  options_.batch = 5;
  EXPECT_GT(built(), 0) << "another shape";
  EXPECT_EQ(files().size(), 2 * first);
  logits_.clear();
  options_.precision = Precision::kBf16;
  EXPECT_GT(built(), 0) << "another type";
  EXPECT_EQ(files().size(), 3 * first);
  logits_.clear();
  simt::reboot({.compute_capability = 80});
  EXPECT_GT(built(), 0) << "another device";
  EXPECT_EQ(files().size(), 4 * first);
  logits_.clear();
  options_.probes.values.clear();
  EXPECT_EQ(built(), 0) << "the plain kernels are those of the split step, and cached with it";
}

TEST_F(SimtSession, IsOneGraphWithOneMemsetAndNothingIsAllocatedWhileItRuns) {
  Session session(model_, options_);
  EXPECT_EQ(simt::last_graph().memsets, 1);
  EXPECT_EQ(simt::last_graph().copies, 0);
  EXPECT_GE(simt::last_graph().kernels, static_cast<int64_t>(session.program().steps.size()));
  const simt::Counts before = simt::counts();
  (void)run_all(session, pixels_, 11, 4);  // 4, 4, 3
  EXPECT_EQ(simt::counts().graph_launches, before.graph_launches + 2) << "a partial batch runs step by step";
  (void)session.statistics();
  session.reset_statistics();
  EXPECT_EQ(simt::counts().allocations, before.allocations);
  EXPECT_EQ(simt::counts().device_bytes, before.device_bytes);
  options_.deterministic = true;
  const Session fixed_order(model_, options_);
  EXPECT_EQ(simt::last_graph().memsets, 0) << "no sums are taken inside a convolution";
}

/// Five batches, two under way at a time.
std::vector<std::vector<float>> overlapped(Session& session, const std::vector<uint8_t>& pixels, size_t each) {
  auto got = begin_overlapped(session, 5, [&](Slot& slot, int64_t batch) {
    slot.count = batch == 3 ? 2 : 4;
    std::copy_n(pixels.data() + static_cast<size_t>(batch) * each, static_cast<size_t>(slot.count) * each, slot.pixels);
  });
  got.push_back(end_batch(session));
  return got;
}

TEST_F(SimtSession, AnyOrderOfCopiesAndPassesGivesTheSame) {
  options_.deterministic = true;
  const auto each = static_cast<size_t>(tiny_.input.elements());
  for (const int64_t micro_batch : {int64_t{0}, int64_t{1}}) {
    options_.micro_batch = micro_batch;
    Session session(model_, options_);
    simt::set_pace(simt::Pace::kEager, 1);
    const auto want = overlapped(session, pixels_, each);
    const Statistics statistics = session.statistics();
    for (uint64_t seed = 0; seed < 4; ++seed) {
      simt::set_pace(seed == 0 ? simt::Pace::kLazy : simt::Pace::kRandom, seed);
      session.reset_statistics();
      EXPECT_EQ(overlapped(session, pixels_, each), want) << "seed " << seed;
      for (const auto& [name, sums] : statistics.values) {
        EXPECT_EQ(session.statistics().values.at(name).sum, sums.sum) << name << ", seed " << seed;
      }
    }
    int wrong = 0;
    simt::ignore_waits(true);  // the planted defect: copies and passes no longer wait for each other
    for (uint64_t seed = 0; seed < 4; ++seed) {
      simt::set_pace(simt::Pace::kRandom, seed);
      wrong += overlapped(session, pixels_, each) == want ? 0 : 1;
    }
    simt::ignore_waits(false);
    EXPECT_GT(wrong, 0) << "this test cannot see a missing wait";
  }
}

TEST_F(SimtSession, BeginsABatchWhileTheOneBeforeComputes) {
  Session session(model_, options_);
  simt::set_pace(simt::Pace::kLazy, 1);
  Slot& slot = session.slots()[0];
  slot.count = 4;
  std::copy_n(pixels_.data(), static_cast<size_t>(4 * tiny_.input.elements()), slot.pixels);
  session.begin(slot);
  const int64_t queued = simt::counts().queued;
  EXPECT_GT(queued, 0) << "begin() waited for the pass and not only for the copy";
  session.begin(session.slots()[0]);
  EXPECT_GT(simt::counts().queued, queued) << "the second waited for the first";
  (void)session.end();
  (void)session.end();
}

TEST_F(SimtSession, ARefusedAllocationLeavesNothingBehindWherverItComes) {
  options_.micro_batch = options_.batch;  // no second attempt with smaller micro-batches
  const int64_t before = simt::counts().allocations;
  { const Session session(model_, options_); }
  const int64_t needed = simt::counts().allocations - before;
  ASSERT_GE(needed, 5);
  int64_t refused = 0;
  for (int64_t k = 1; k <= needed; ++k) {
    simt::reboot();
    simt::refuse_allocation(k);
    try {
      const Session session(model_, options_);  // if a residual could not be tried in place, it stays in its own memory
    } catch (const OutOfMemory& error) {
      ++refused;
      EXPECT_EQ(error.exit_code(), 4);
      EXPECT_GT(error.figures().requested_bytes, 0U);
      EXPECT_THAT(error.what(), HasSubstr("batch"));
    }
    EXPECT_EQ(simt::counts().device_bytes + simt::counts().pinned_bytes, 0U) << "allocation " << k;
    EXPECT_EQ(simt::counts().queued, 0);
  }
  EXPECT_GE(refused, 5) << "weights, packing, arena, statistics, staging";
  EXPECT_EQ(error_of_session(), "none");
}

TEST_F(SimtSession, AFullDeviceIsExplained) {
  simt::reboot({.memory_bytes = 15000});
  const std::string error = error_of_session();
  EXPECT_THAT(error, HasSubstr("cuda:0"));
  EXPECT_THAT(error, HasSubstr("nvidia-smi"));
  EXPECT_THAT(error, HasSubstr("batch"));
  EXPECT_EQ(simt::counts().device_bytes, 0U);
}

TEST_F(SimtSession, AFaultIsNamedWhereverItComesAndOnlyANewProcessHelps) {
  simt::set_pace(simt::Pace::kLazy, 1);
  const int64_t before = simt::counts().operations;
  {
    Session session(model_, options_);
    (void)run_all(session, pixels_, 7, 4);
  }
  const int64_t operations = simt::counts().operations - before;
  for (int64_t at = 1; at <= operations; at += 1 + operations / 20) {
    simt::reboot();
    simt::set_pace(simt::Pace::kRandom, static_cast<uint64_t>(at));
    simt::fault_after(at);
    try {
      Session session(model_, options_);
      (void)run_all(session, pixels_, 7, 4);
      FAIL() << "no word of the fault at operation " << at;
    } catch (const DeviceError& error) {
      EXPECT_EQ(error.exit_code(), 5);
      EXPECT_THAT(error.what(), HasSubstr("cudaErrorIllegalAddress")) << at;
      EXPECT_THAT(error.what(), HasSubstr("new process")) << at;
    }
    EXPECT_THAT(error_of_session(), HasSubstr("cudaErrorIllegalAddress")) << "the fault stays";
  }
  simt::reboot();
  EXPECT_EQ(error_of_session(), "none");
}

TEST_F(SimtSession, WhatIsMissingIsNamedWithWhatToDo) {
  simt::reboot({.devices = 0});
  EXPECT_THAT(error_of_session(), HasSubstr("no NVIDIA GPU is visible"));
  EXPECT_THAT(error_of_session(), HasSubstr("run on the CPU"));
  simt::reboot({.driver_version = 0, .refusal = cudaErrorInsufficientDriver});
  EXPECT_THAT(error_of_session(), HasSubstr("no NVIDIA driver"));
  simt::reboot({.driver_version = 12020, .refusal = cudaErrorInsufficientDriver});
  EXPECT_THAT(error_of_session(), HasSubstr("driver for CUDA 12.2"));
  EXPECT_THAT(error_of_session(), HasSubstr("install a newer driver"));
  simt::reboot({.compute_capability = 70});
  EXPECT_THAT(error_of_session(), HasSubstr("needs 75 (Turing) or newer"));
  simt::reboot();
  simt::lose_cudnn("cuDNN could not be opened: install it");
  EXPECT_THAT(error_of_session(), HasSubstr("cuDNN could not be opened"));
  simt::lose_cudnn("");
  options_.device.index = 1;
  EXPECT_THAT(error_of_session(), HasSubstr("there is no GPU 1: this process sees 1"));
}

TEST_F(SimtSession, TwoDevicesInOneThreadDoNotDisturbEachOther) {
  simt::reboot({.devices = 2});
  options_.deterministic = true;
  Session first(model_, options_);
  const size_t on_first = simt::live_bytes(0);
  const auto want = run_all(first, pixels_, 11, 4);
  options_.device.index = 1;
  Session second(model_, options_);
  EXPECT_EQ(simt::live_bytes(0), on_first);
  EXPECT_EQ(simt::live_bytes(1), on_first);
  const auto current = [] {
    int device = -1;
    EXPECT_EQ(cudaGetDevice(&device), cudaSuccess);
    return device;
  };
  EXPECT_EQ(current(), 0);
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(cudaSetDevice(round % 2), cudaSuccess);  // whatever the caller's is
    EXPECT_EQ(run_all(second, pixels_, 11, 4), want);
    EXPECT_EQ(run_all(first, pixels_, 11, 4), want);
    EXPECT_EQ(current(), round % 2) << "left as it was";
  }
  EXPECT_EQ(first.statistics().samples, 44);
  EXPECT_EQ(second.statistics().samples, 33);
  for (const auto& [name, sums] : second.statistics().values) {
    EXPECT_EQ(sums.count * 44, first.statistics().values.at(name).count * 33) << name;
  }
}

}  // namespace
}  // namespace elek::test
