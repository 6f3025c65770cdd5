// SPDX-License-Identifier: Apache-2.0
// The recipe as a user of the library calls it: the default cut of the shipped network; on a small network the observer's
// calls, rounds, replay and refusals. That the command makes the same network: tests/cli/recipe_test.cpp.
#include <gmock/gmock.h>

#include "elek/data.h"
#include "elek/prune.h"
#include "prune/recipe_steps.h"
#include "tests/golden/shipped.h"
#include "tests/prune/array_source.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Writes down what it is told.
class Diary final : public CutObserver {
 public:
  void begin(CutPhase phase) override { open_.push_back(phase); }
  void end(CutPhase phase) override {
    ASSERT_THAT(open_, ElementsAre(phase)) << "phases come one after the other";
    open_.clear();
    phases.push_back(phase);
  }
  [[nodiscard]] Progress start(CutWork work) override {
    works.push_back(work);
    return [this](int64_t done, int64_t total) {
      EXPECT_LE(done, total);
      last_done = done;
      last_total = total;
    };
  }
  void forecast(const Forecast& told) override { forecasts.push_back(told); }
  void chosen(int step, int steps, const PrunePlan& so_far) override {
    rounds.push_back(std::to_string(step) + "/" + std::to_string(steps));
    EXPECT_FALSE(so_far.removes_nothing());
  }
  void checked(const Equivalence& equivalence) override { samples_checked = equivalence.samples; }

  std::vector<CutPhase> phases;
  std::vector<CutWork> works;
  std::vector<Forecast> forecasts;
  std::vector<std::string> rounds;
  int64_t samples_checked = 0;
  int64_t last_done = -1, last_total = -2;

 private:
  std::vector<CutPhase> open_;
};

/// The whole default cut, as in the README: ten lines without the command.
TEST(Recipe, TheDefaultCutOfTheShippedNetwork) {
  const Model dense = shipped_model();
  const ImageShape& shape = dense.graph.input_shape();
  const auto calibrate = make_loader(parse_data("idx:" + kShippedFolder + ":train", shape),
                                     {.shuffle_seed = 0, .limit = 250, .description = "train"});
  const auto evaluate = make_loader(parse_data("idx:" + kShippedFolder + ":test[0:500]", shape), {.description = "test"});
  CutObserver nobody;
  const CutReport report = cut(dense, *calibrate, evaluate.get(), CutOptions(), nobody);
  EXPECT_GT(report.dense->accuracy.top1, 0.9);
  EXPECT_GT(report.repaired->accuracy.top1, report.dense->accuracy.top1 - 0.02);
  EXPECT_GT(report.repaired->accuracy.top1, report.pruned->accuracy.top1);
  EXPECT_LT(macs(report.model.graph), 0.6 * static_cast<double>(macs(dense.graph)));
  EXPECT_LE(report.equivalence.difference, report.equivalence.bound);
  ASSERT_EQ(report.model.history.size(), 1U);
  const HistoryEntry& entry = report.model.history.back();
  EXPECT_EQ(entry.criterion, "refit");
  EXPECT_EQ(entry.calibration, "train");
  EXPECT_EQ(entry.calibration_samples, 250);
  EXPECT_EQ(entry.evaluation->data, "test");
  EXPECT_EQ(entry.evaluation->repaired, report.repaired->accuracy.top1);
  EXPECT_THAT(entry.version, ::testing::Not(IsEmpty()));
}

struct Small {
  Model dense;
  ArraySource images;
  CutOptions options;
};

Small small(const std::string& criterion) {
  TinyOptions tiny;
  tiny.widths = {8, 12};
  tiny.blocks = 1;
  tiny.input = {3, 8, 8};
  Model dense = tiny_resnet(tiny);
  std::vector<uint8_t> pixels = tiny_pixels(dense.graph.input_shape(), 6, 3);
  CutOptions options;
  options.criterion = &find_criterion(criterion);
  options.session.batch = 4;
  options.session.threads = 1;
  return {std::move(dense), ArraySource(std::move(pixels), 6), options};
}

std::vector<std::vector<int64_t>> kept(const PrunePlan& plan) {
  std::vector<std::vector<int64_t>> lists;
  for (const GroupCut& cut : plan.groups) lists.push_back(cut.keep);
  return lists;
}

TEST(Recipe, SaysWhichTargetTheRefitHad) {
  std::vector<uint64_t> made;
  for (const RefitTarget target : {RefitTarget::kLayer, RefitTarget::kBlock}) {
    Small s = small("std-consumer");
    s.options.repair = Repair::kRefit;
    s.options.refit_target = target;
    CutObserver nobody;
    const CutReport report = cut(s.dense, s.images, nullptr, s.options, nobody);
    EXPECT_EQ(report.repair, target == RefitTarget::kLayer ? "refit" : "refit target=block");
    EXPECT_EQ(report.model.history.back().repair, report.repair);
    EXPECT_EQ(refit_target_from_name(name_of(target)), target);
    made.push_back(hash(report.model));
  }
  EXPECT_NE(made[0], made[1]) << "the target is used";
  EXPECT_THROW((void)refit_target_from_name("sum"), UsageError);
  Small s = small("std-consumer");
  s.options.repair = Repair::kBatchNorm;
  CutObserver nobody;
  EXPECT_EQ(cut(s.dense, s.images, nullptr, s.options, nobody).repair, "bn");
}

TEST(Recipe, TellsTheObserverPhasesWorkAndForecasts) {
  Small s = small("refit");
  s.options.repair = Repair::kRefitBatchNorm;
  Diary diary;
  const CutReport report = cut(s.dense, s.images, nullptr, s.options, diary);
  EXPECT_THAT(diary.phases, ElementsAre(CutPhase::kCollection, CutPhase::kScoring, CutPhase::kPruning, CutPhase::kRepair));
  EXPECT_THAT(diary.works, ElementsAre(CutWork::kCosts, CutWork::kRefit, CutWork::kReestimate));
  ASSERT_EQ(diary.forecasts.size(), 2U);
  EXPECT_EQ(diary.forecasts[0].criterion, "refit");
  EXPECT_EQ(diary.forecasts[1].criterion, "");
  for (const Forecast& told : diary.forecasts) {
    EXPECT_GT(told.layers, 0);
    EXPECT_GT(told.moments_bytes, 0U);
    EXPECT_GT(told.dense_passes, 0);
    EXPECT_EQ(told.ms, 0) << "nothing was timed";
  }
  EXPECT_EQ(diary.samples_checked, 4);
  EXPECT_EQ(diary.last_done, diary.last_total);
  EXPECT_FALSE(report.pruned || report.repaired || report.dense);
  EXPECT_FALSE(report.model.history.back().evaluation);
  EXPECT_FALSE(s.images.running());
}

TEST(Recipe, StatisticsAreTakenAgainBetweenRounds) {
  Small s = small("std-consumer");
  s.options.channels.share = 0.5;
  s.options.repair = Repair::kBatchNorm;
  s.options.steps = 2;
  Diary diary;
  const CutReport report = cut(s.dense, s.images, nullptr, s.options, diary);
  EXPECT_THAT(diary.rounds, ElementsAre("1/2", "2/2"));
  EXPECT_EQ(std::count(diary.phases.begin(), diary.phases.end(), CutPhase::kCollection), 2);
  EXPECT_THAT(report.plan.target, ::testing::EndsWith(" steps=2"));
  EXPECT_EQ(report.watched_samples, 6);
  EXPECT_GT(report.statistics_bytes, 0U);
}

TEST(Recipe, AReplayRepeatsTheChoiceAndLooksAtNothing) {
  Small s = small("rms");
  s.options.repair = Repair::kNone;
  CutObserver nobody;
  const CutReport first = cut(s.dense, s.images, nullptr, s.options, nobody);
  s.options.replay = [&] { return first.model; };
  s.options.replay_name = "first";
  Diary diary;
  const CutReport again = cut(s.dense, s.images, nullptr, s.options, diary);
  EXPECT_EQ(kept(again.plan), kept(first.plan));
  EXPECT_EQ(hash(again.model), hash(first.model));
  EXPECT_THAT(diary.works, IsEmpty());
  EXPECT_THAT(again.replayed, ::testing::Not(IsEmpty()));
  EXPECT_EQ(again.model.history.back().calibration_samples, 0);
}

TEST(Recipe, OneLookAtTheImagesServesSeveralCuts) {
  Small s = small("std-consumer");
  s.options.repair = Repair::kNone;
  CutObserver nobody;
  const CutRun run{s.options, s.images, nullptr, nobody};
  const Evidence evidence = gather(s.dense, run);
  for (const double share : {0.25, 0.5}) {
    s.options.channels.share = share;
    const CutReport parts = cut_by(s.dense, evidence, std::nullopt, run);
    EXPECT_EQ(hash(parts.model), hash(cut(s.dense, s.images, nullptr, s.options, nobody).model));
  }
}

TEST(Recipe, WeightsInPlaceOfChannels) {
  Small s = small("refit");  // a criterion of channels: not looked at
  s.options.weights = true;
  s.options.sparsity.sparsity = 0.5;
  s.options.repair = Repair::kNone;
  CutObserver nobody;
  const CutReport report = cut(s.dense, s.images, nullptr, s.options, nobody);
  EXPECT_EQ(report.plan.criterion, "wanda");
  EXPECT_LT(nonzero_parameter_count(report.model), parameter_count(report.model));
  EXPECT_EQ(report.model.history.back().action, "prune weights");
}

TEST(Recipe, ATargetThatRemovesNothingIsToldAsSuch) {
  Small s = small("magnitude");
  s.options.channels.share = 0;
  CutObserver nobody;
  try {
    (void)cut(s.dense, s.images, nullptr, s.options, nobody);
    FAIL() << "cut";
  } catch (const RemovesNothing& error) {
    EXPECT_THAT(error.target(), HasSubstr("channels=0 "));
    EXPECT_THAT(error.what(), HasSubstr(error.target()));
  }
}

}  // namespace
}  // namespace elek::test
