// SPDX-License-Identifier: Apache-2.0
// A sweep as a user of the library calls it. Each of its results is that of the cut alone; the observer is told of every
// measurement; targets that remove nothing are refused. The command's tables and files: tests/cli/sweep_test.cpp.
#include "prune/sweep.h"

#include <gmock/gmock.h>

#include "elek/data.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

/// Counts phases.
class Phases final : public CutObserver {
 public:
  void begin(CutPhase phase) override { seen.push_back(phase); }
  std::vector<CutPhase> seen;
};

/// Writes down what it is told.
class Diary final : public SweepObserver {
 public:
  void left_out(const std::string& group, double /*share*/) override { left.push_back(group); }
  void begin(int64_t how_many, double ms) override {
    cuts = how_many;
    EXPECT_GT(ms, 0);
  }
  void measuring(size_t cut, size_t of, const SweepPoint& point, Repair repair) override {
    EXPECT_EQ(static_cast<int64_t>(of), cuts);
    measured.push_back(std::to_string(cut) + " " + point.criterion->name() + " " + name_of(repair));
  }
  void progress(int64_t done, int64_t total) override {
    EXPECT_LT(done, total);
    EXPECT_GE(done, last);
    last = done;
  }
  void end() override { ended = true; }

  std::vector<std::string> left, measured;
  int64_t cuts = 0;
  int64_t last = 0;
  bool ended = false;
};

struct Small {
  Small() {
    TinyOptions tiny;
    tiny.widths = {8, 12};
    tiny.blocks = 1;
    tiny.input = {3, 8, 8};
    dense = tiny_resnet(tiny);
    calibrate = make_loader(parse_data("synthetic:24:1", tiny.input), {.description = "a"});
    evaluate = make_loader(parse_data("synthetic:40:2", tiny.input), {.description = "b"});
    options.session.batch = 8;
    options.session.threads = 1;
    options.seed = 4;
    spec.criteria = {&find_criterion("positions"), &find_criterion("magnitude"), &find_criterion("random")};
    spec.shares = {0.25, 0.5};
    spec.repairs = {Repair::kNone, Repair::kRefit};
    spec.draws = 2;
    spec.target.round_to = 1;
  }
  [[nodiscard]] CutRun run() { return {options, *calibrate, evaluate.get(), phases, measured.ms_an_image}; }
  Sweep swept() {
    measured = measure(dense, run(), CutWork::kDense);
    phases.seen.clear();
    return run_sweep(dense, measured, spec, run(), diary);
  }

  Model dense;
  std::unique_ptr<BatchSource> calibrate, evaluate;
  CutOptions options;
  SweepSpec spec;
  Measured measured;
  Phases phases;
  Diary diary;
};

TEST(SweepLibrary, EachResultIsThatOfTheCutAlone) {
  Small s;
  const Sweep made = s.swept();
  ASSERT_EQ(made.points.size(), 6U);
  EXPECT_THAT(s.phases.seen, ::testing::ElementsAre(CutPhase::kCollection, CutPhase::kScoring)) << "one pass for all criteria";
  EXPECT_GT(made.statistics_bytes, 0U);
  for (const SweepPoint& point : made.points) {
    if (point.criterion->traits().uses_seed) continue;
    CutOptions alone = s.options;
    alone.criterion = point.criterion;
    alone.channels = s.spec.target;
    alone.channels.share = point.share;
    alone.repair = Repair::kRefit;
    CutObserver nobody;
    const CutReport report = cut(s.dense, *s.calibrate, s.evaluate.get(), alone, nobody);
    EXPECT_EQ(point.macs, macs(report.model.graph));
    EXPECT_EQ(point.parameters, parameter_count(report.model));
    EXPECT_EQ(point.target, report.plan.target);
    ASSERT_EQ(point.results.size(), 2U);
    EXPECT_EQ(point.results[0].accuracy.loss, report.pruned->accuracy.loss) << point.criterion->name() << point.share;
    EXPECT_EQ(point.results[1].accuracy.loss, report.repaired->accuracy.loss) << point.criterion->name() << point.share;
    EXPECT_EQ(accuracy_of(point.results[1].judged).value, report.repaired->accuracy.top1);
    EXPECT_LE(point.equivalence.difference, point.equivalence.bound);
    EXPECT_GT(point.equivalence.bound, 0);
  }
}

/// Each has costs of its own, from one sweep over all of them.
TEST(SweepLibrary, CriteriaThatNeedImagesKeepTheirOwnCosts) {
  Small s;
  s.spec.criteria = {&find_criterion("refit"), &find_criterion("taylor"), &find_criterion("fisher")};
  s.spec.shares = {0.5};
  s.spec.repairs = {Repair::kNone};
  const Sweep made = s.swept();
  ASSERT_EQ(made.points.size(), 3U);
  for (const SweepPoint& point : made.points) {
    CutOptions alone = s.options;
    alone.criterion = point.criterion;
    alone.channels = s.spec.target;
    alone.channels.share = 0.5;
    alone.repair = Repair::kNone;
    CutObserver nobody;
    const CutReport report = cut(s.dense, *s.calibrate, s.evaluate.get(), alone, nobody);
    EXPECT_EQ(point.results.at(0).accuracy.loss, report.pruned->accuracy.loss) << point.criterion->name();
  }
  EXPECT_NE(made.points[0].results[0].accuracy.loss, made.points[1].results[0].accuracy.loss);
  EXPECT_NE(made.points[1].results[0].accuracy.loss, made.points[2].results[0].accuracy.loss);
}

TEST(SweepLibrary, ARandomCriterionHasTheMeanOfItsDraws) {
  Small s;
  s.spec.criteria = {&find_criterion("random")};
  s.spec.shares = {0.5};
  s.spec.repairs = {Repair::kNone};
  const Sweep made = s.swept();
  const SweepResult& result = made.points.at(0).results.at(0);
  double loss = 0;
  std::vector<double> top1;
  for (uint64_t seed = 4; seed < 6; ++seed) {
    CutOptions alone = s.options;
    alone.criterion = s.spec.criteria[0];
    alone.channels = s.spec.target;
    alone.channels.share = 0.5;
    alone.repair = Repair::kNone;
    alone.seed = seed;
    CutObserver nobody;
    const CutReport report = cut(s.dense, *s.calibrate, s.evaluate.get(), alone, nobody);
    loss += report.pruned->accuracy.loss / 2;
    top1.push_back(report.pruned->accuracy.top1);
  }
  EXPECT_DOUBLE_EQ(result.accuracy.loss, loss);
  EXPECT_EQ(result.judged.draws, top1);
  EXPECT_EQ(rivals_of(made, made.points[0], 0).random, &result);
}

TEST(SweepLibrary, TheObserverIsToldOfEveryMeasurement) {
  Small s;
  s.spec.shares = {0.5};
  const Sweep made = s.swept();
  EXPECT_EQ(s.diary.cuts, 4) << "random has two draws";
  EXPECT_THAT(s.diary.measured,
              ::testing::ElementsAre("1 positions none", "1 positions refit", "2 magnitude none", "2 magnitude refit",
                                     "3 random none", "3 random refit", "4 random none", "4 random refit"));
  EXPECT_GT(s.diary.last, 0);
  EXPECT_TRUE(s.diary.ended);
  const Rivals rivals = rivals_of(made, made.points[0], 1);
  for (const SweepPoint& point : made.points) EXPECT_LE(point.results[1].accuracy.top1, rivals.best->accuracy.top1);
  EXPECT_EQ(rivals.random, &made.points[2].results[1]);
}

TEST(SweepLibrary, SensitivityCutsOneGroupAtATime) {
  Small s;
  s.spec.criteria = {&find_criterion("magnitude")};
  s.spec.shares = {0.05};  // rounds to one channel of twelve, and to none of eight
  s.spec.repairs = {Repair::kNone};
  s.spec.sensitivity = true;
  const Sweep made = s.swept();
  std::vector<std::string> cut_groups;
  for (const SweepPoint& point : made.points) {
    cut_groups.push_back(point.group);
    CutOptions alone = s.options;
    alone.criterion = point.criterion;
    alone.channels = {.share = 0, .round_to = 1, .overrides = {{point.group, 0.05}}};
    alone.repair = Repair::kNone;
    CutObserver nobody;
    EXPECT_EQ(point.macs, macs(cut(s.dense, *s.calibrate, nullptr, alone, nobody).model.graph)) << point.group;
  }
  EXPECT_FALSE(cut_groups.empty());
  EXPECT_FALSE(s.diary.left.empty());
  size_t prunable = 0;
  for (const Group& group : find_groups(s.dense.graph)) {
    if (!group.prunable) continue;
    ++prunable;
    const bool was_left = std::find(s.diary.left.begin(), s.diary.left.end(), group.name) != s.diary.left.end();
    const bool was_cut = std::find(cut_groups.begin(), cut_groups.end(), group.name) != cut_groups.end();
    EXPECT_NE(was_left, was_cut) << group.name << " of " << group.channels;
  }
  EXPECT_EQ(cut_groups.size() + s.diary.left.size(), prunable);
  s.spec.shares = {0.01};
  EXPECT_THROW((void)s.swept(), RemovesNothing) << "no group loses a channel";
}

TEST(SweepLibrary, WhatRemovesNothingIsRefusedBeforeTheWork) {
  Small s;
  s.spec.shares = {0.01, 0.5};
  EXPECT_THROW(check_sweep(s.dense, s.spec, s.options), RemovesNothing);
  s.spec.shares = {0.5};
  EXPECT_NO_THROW(check_sweep(s.dense, s.spec, s.options));
  s.spec.target.ignore = {"nobody"};
  EXPECT_THROW(check_sweep(s.dense, s.spec, s.options), UsageError);
}

}  // namespace
}  // namespace elek::test
