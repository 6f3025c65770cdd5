// SPDX-License-Identifier: Apache-2.0
// Lowering for a device that is not present: cuDNN builds the kernels, but nothing is timed or run. All choices, reservations
// and records are the same as on a device. The kernels are built once; later lowerings read them from the plan cache, so that
// is tested too.
#include "backends/cuda/lower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/error.h"
#include "core/sums.h"
#include "kernels/cuda/channel_totals.h"
#include "kernels/cuda/tap_norms.h"
#include "plan/plan.h"
#include "tests/support/models.h"

namespace elek::backends::cuda {
namespace {

using ::testing::HasSubstr;

class LowerTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    cache_ = ::testing::TempDir() + "/elek_lower_test_" + std::to_string(getpid());
    std::filesystem::remove_all(cache_);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(cache_); }

  void SetUp() override {
    const auto version = load_cudnn();
    if (!version) GTEST_SKIP() << version.reason();
    std::ifstream file(std::string(ELEK_SOURCE_DIR) + "/tests/deviceless/devices/h100.json", std::ios::binary);
    const std::vector<uint8_t> json((std::istreambuf_iterator<char>(file)), {});
    auto device = DeviceModel::from_json(json);
    ASSERT_TRUE(device) << device.reason();
    target_.facts = {0, "H100 (described)", 90, 132, size_t{80} << 30, 13000, 13000};
    target_.model = std::move(device).value();
    target_.cudnn_version = version.value();
    target_.cache_directory = cache_;
    test::TinyOptions tiny;
    tiny.widths = {13};
    tiny.blocks = 1;
    model_ = test::tiny_resnet(tiny);
    fused_ = fuse(model_.graph);
    options_.batch = 4;
    options_.precision = Precision::kF16;
    for (const FusedNode& step : fused_.steps) {
      if (step.node.is<Conv2dAttrs>()) options_.probes.values[model_.graph.node(step.output).name] = kActivity;
    }
  }

  [[nodiscard]] Lowerer lower() const {
    Lowerer lowerer(model_, fused_, options_, target_);
    lowerer.lower();
    return lowerer;
  }
  static std::vector<size_t> convolutions(const Lowerer& l) {
    std::vector<size_t> found;
    for (size_t i = 0; i < l.notes.steps.size(); ++i) {
      if (l.notes.steps[i].kind == Kind::kConv) found.push_back(i);
    }
    return found;
  }

  static std::string cache_;
  Target target_;
  Model model_;
  FusedGraph fused_;
  LowerOptions options_;
};
std::string LowerTest::cache_;

TEST_F(LowerTest, FusesEveryObservedConvolutionAndKeepsAWayForPartialBatches) {
  const Lowerer l = lower();
  ASSERT_GE(convolutions(l).size(), 3U);
  for (const size_t i : convolutions(l)) {
    const Step& step = l.notes.steps[i];
    const ProgramStep& made = l.program.steps[i];
    EXPECT_EQ(step.fusion, Fusion::kAll) << made.choice;
    EXPECT_EQ(step.fused_sums, kSumY | kSumYSquared | kCountActive) << made.kernel;
    EXPECT_NE(step.partial_fusion, Fusion::kAll);
    EXPECT_EQ(step.partial_plan.problem().sums, 0U) << "a partial batch would count the samples beyond it";
    EXPECT_THAT(made.kernel, HasSubstr("fused"));
    EXPECT_GE(made.workspace_bytes, step.sums_offset + step.sums_bytes);
    EXPECT_GE(made.workspace_bytes, step.plan.workspace_bytes());
  }
  for (const ProgramTensor& t : l.program.tensors) {
    EXPECT_EQ(t.layout, Layout::kNhwc);
    EXPECT_EQ(t.channel_pitch % 4, 0);
    EXPECT_GE(t.channel_pitch, t.shape.channels);
  }
  EXPECT_EQ(l.program.tensors.front().dtype, DType::kF16);
  EXPECT_EQ(l.program.tensors[static_cast<size_t>(l.notes.output)].dtype, DType::kF32);
  EXPECT_EQ(l.program.micro_batch, 4);
  EXPECT_EQ(plan(l.program).arena_bytes, plan(l.program).lower_bound_bytes);
}

// The f32 sums lie first and together (one memset), then the totals; nothing overlaps.
TEST_F(LowerTest, LaysOutTheStatisticsSlabWithoutOverlap) {
  options_.probes.tap_norms = {"conv1", "fc"};
  const Lowerer l = lower();
  std::vector<std::pair<size_t, size_t>> ranges;
  for (const size_t i : convolutions(l)) {
    const Step& step = l.notes.steps[i];
    for (int kind = 0; kind < kFusedSumKinds; ++kind) {
      if ((step.fused_sums & (1U << kind)) == 0) continue;
      const size_t begin = step.fused_offsets[static_cast<size_t>(kind)];
      ranges.emplace_back(begin, begin + static_cast<size_t>(step.plan.problem().filters) * sizeof(float));
      EXPECT_LE(ranges.back().second, l.notes.fused_bytes);
    }
  }
  for (const Watched& w : l.notes.watched) {
    EXPECT_GE(w.offset, l.notes.fused_bytes);
    const int64_t channels = l.program.tensors[static_cast<size_t>(w.tensor)].shape.channels;
    ranges.emplace_back(w.offset, w.offset + kernels::cuda::ChannelTotals::bytes(channels, w.sums));
  }
  ASSERT_EQ(l.notes.tap_norms.size(), 2U);
  for (const WatchedTaps& t : l.notes.tap_norms) {
    ranges.emplace_back(t.offset, t.offset + kernels::cuda::tap_norm_bytes(t.plan));
    EXPECT_LE(ranges.back().second, l.notes.totals_bytes);
  }
  EXPECT_GE(l.notes.slab_entries_offset, l.notes.totals_bytes);
  std::sort(ranges.begin(), ranges.end());
  for (size_t i = 1; i < ranges.size(); ++i) EXPECT_GE(ranges[i].first, ranges[i - 1].second) << i;
}

TEST_F(LowerTest, TakesTheSplitWayWhereSumsMustNotOrCannotFuse) {
  options_.deterministic = true;
  for (const Lowerer& l = lower(); const size_t i : convolutions(l)) {
    EXPECT_EQ(l.notes.steps[i].fused_sums, 0U);
    EXPECT_NE(l.notes.steps[i].fusion, Fusion::kAll);
    EXPECT_THAT(l.program.steps[i].choice, HasSubstr("a deterministic run was asked for"));
  }
  options_.deterministic = false;
  for (auto& [name, sums] : options_.probes.values) sums = kActivity | kPerSample;
  for (const Lowerer& l = lower(); const size_t i : convolutions(l)) {
    EXPECT_EQ(l.notes.steps[i].fused_sums, 0U);
    EXPECT_THAT(l.program.steps[i].choice, HasSubstr("per-sample"));
  }
  for (auto& [name, sums] : options_.probes.values) sums = kActivity | kMoments;
  for (const Lowerer& l = lower(); const size_t i : convolutions(l)) {
    EXPECT_EQ(l.notes.steps[i].partial_fusion, Fusion::kNone) << "sums of z need z";
  }
}

// A block's last convolution overwrites the residual that it adds, if the device has shown that its plans can.
TEST_F(LowerTest, AddsResidualsInPlaceWhereThePlansCan) {
  options_.batch = 8;
  const auto over_residual = [](const Lowerer& l) {
    int64_t count = 0;
    for (const Step& step : l.notes.steps) count += step.kind == Kind::kConv && step.place == Place::kResidual ? 1 : 0;
    return count;
  };
  const Lowerer apart = lower();
  EXPECT_EQ(over_residual(apart), 0) << "never without having been tried";
  int64_t asked = 0;
  target_.why_not_in_place = [&asked](const ConvPlan& plan) {
    EXPECT_TRUE(plan.problem().residual);
    ++asked;
    return std::string();
  };
  const Lowerer in_place = lower();
  EXPECT_GE(over_residual(in_place), 1);
  EXPECT_EQ(asked, 2 * over_residual(in_place)) << "the plan for whole batches and the one for partial batches";
  EXPECT_LT(in_place.program.storages.size(), apart.program.storages.size());
  EXPECT_LE(plan(in_place.program).lower_bound_bytes, plan(apart.program).lower_bound_bytes);
  EXPECT_EQ(plan(in_place.program).arena_bytes, plan(in_place.program).lower_bound_bytes);
  target_.why_not_in_place = [](const ConvPlan& plan) { return std::string(plan.problem().sums != 0 ? "" : "it differs"); };
  const Lowerer refused = lower();
  EXPECT_EQ(over_residual(refused), 0) << "partial batches run the other plan";
  // With sums of z, partial batches store the raw convolution first: it would destroy the residual.
  target_.why_not_in_place = [](const ConvPlan&) { return std::string(); };
  for (auto& [name, sums] : options_.probes.values) sums = kActivity | kMoments;
  EXPECT_EQ(over_residual(lower()), 0);
}

TEST_F(LowerTest, KeepsTheRawConvolutionWhereItIsWatchedOrNormalisedApart) {
  fused_ = fuse(model_.graph);
  options_.batch_norm = BatchNorm::kApart;
  options_.probes.values = {{"conv1", kActivity}};
  options_.probes.tap = Tap::kConv;
  const Lowerer l = lower();
  for (const size_t i : convolutions(l)) {
    EXPECT_EQ(l.notes.steps[i].fusion, Fusion::kNone);
    EXPECT_EQ(l.notes.steps[i].plan.problem().epilogue, ConvEpilogue::kNone);
    EXPECT_NE(l.notes.steps[i].scale, kNone);
  }
  EXPECT_TRUE(l.notes.steps[convolutions(l).front()].watch_raw);
  options_.probes.values = {{"no such value", kActivity}};
  EXPECT_THROW((void)lower(), ContractError);
}

TEST_F(LowerTest, RefusesATimeForBuildingThatIsNone) {
  options_.batch = 5;  // in no cache
  for (const char* none : {"-1", "3601", "two", "2 ", "nan"}) {
    setenv("ELEK_CUDNN_BUILD_SECONDS", none, 1);
    EXPECT_THROW((void)lower(), UsageError) << none;
  }
  unsetenv("ELEK_CUDNN_BUILD_SECONDS");
}

TEST_F(LowerTest, ReadsPlansFromTheCacheAndBuildsAgainWhatIsCorrupt) {
  const Lowerer first = lower();
  const Lowerer second = lower();
  for (const size_t i : convolutions(second)) {
    EXPECT_THAT(second.program.steps[i].choice, HasSubstr("cached"));
    EXPECT_EQ(second.program.steps[i].kernel, first.program.steps[i].kernel);
  }
  EXPECT_EQ(describe_kernels(first.program, first.notes), describe_kernels(second.program, second.notes));
  int64_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(cache_)) {
    std::filesystem::resize_file(file.path(), 40);
    ++files;
  }
  ASSERT_GT(files, 3);
  const Lowerer third = lower();
  for (const size_t i : convolutions(third)) {
    EXPECT_THAT(third.program.steps[i].choice, ::testing::Not(HasSubstr("cached")));
    EXPECT_EQ(third.program.steps[i].kernel, first.program.steps[i].kernel);
  }
}

}  // namespace
}  // namespace elek::backends::cuda
