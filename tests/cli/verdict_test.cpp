// SPDX-License-Identifier: Apache-2.0
// Every rule of the verdict fires on facts that are made for it, and on no others.
#include "cli/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace elek::cli {
namespace {

using ::testing::HasSubstr;

VerdictFacts good() {
  VerdictFacts f;
  f.classes = 10;
  f.samples = 10'000;
  f.top1 = 0.93;
  f.dense = 0.934;
  f.changed = true;
  f.macs_before = 40e6;
  f.macs_after = 20e6;
  f.bytes_before = 4e6;
  f.bytes_after = 2.5e6;
  f.latency = Latencies{{1.9, 2.0, 2.1}, {0.9, 1.0, 1.1}};
  f.calibration_samples = 1000;
  return f;
}

TEST(Verdict, AGoodCutHasNoWarnings) {
  const VerdictFacts f = good();
  EXPECT_EQ(verdict_text(f),
            "No loss of accuracy can be measured: 93.00 % of 10,000 images, against 93.40 % before. It needs 2.00 times fewer "
            "multiply-adds and 1.60 times fewer bytes, and is 2.00 times as fast: 1.000 ms an image against 2.000.");
  EXPECT_THAT(warnings_of(f), ::testing::IsEmpty());
}

TEST(Verdict, LossesHaveThreeNames) {
  VerdictFacts f = good();
  f.samples = 1'000'000;  // no noise to speak of
  f.top1 = 0.930;
  EXPECT_THAT(verdict_text(f), HasSubstr("It loses little (0.40 points)"));
  f.top1 = 0.90;
  EXPECT_THAT(verdict_text(f), HasSubstr("It loses accuracy (3.40 points)"));
  EXPECT_THAT(warnings_of(f), ::testing::IsEmpty());
  f.top1 = 0.80;
  EXPECT_THAT(verdict_text(f), HasSubstr("It loses much accuracy (13.40 points)"));
  EXPECT_THAT(warnings_of(f), ::testing::ElementsAre(HasSubstr("The cut costs 13.40 points")));
  f.top1 = 0.95;
  EXPECT_THAT(verdict_text(f), HasSubstr("higher than before"));
}

TEST(Verdict, ChanceLevelIsTold) {
  VerdictFacts f = good();
  f.top1 = 0.105;  // one standard error of guessing is 0.3 points
  EXPECT_TRUE(at_chance(f));
  EXPECT_THAT(verdict_text(f), HasSubstr("no better than guessing among 10 classes"));
  EXPECT_THAT(warnings_of(f), ::testing::ElementsAre(HasSubstr("chance level")));
  f.top1 = 0.107;
  EXPECT_FALSE(at_chance(f));
}

TEST(Verdict, WhatIsNotKnownIsSaid) {
  VerdictFacts f = good();
  f.samples = 0;
  f.top1.reset();
  f.dense.reset();
  f.latency.reset();
  EXPECT_THAT(verdict_text(f), HasSubstr("Its accuracy was not measured. It needs 2.00 times fewer"));
  EXPECT_THAT(verdict_text(f), HasSubstr("its speed was not measured"));
  EXPECT_THAT(warnings_of(f), ::testing::ElementsAre(HasSubstr("not measured")));
  f.changed = false;
  EXPECT_THAT(verdict_text(f), HasSubstr("Nothing was removed"));
}

TEST(Verdict, SlowerAndNotFasterAreTold) {
  VerdictFacts f = good();
  f.latency = Latencies{{0.9, 1.0, 1.1}, {0.95, 1.05, 1.15}};
  EXPECT_THAT(verdict_text(f), HasSubstr("not measurably faster"));
  f.latency = Latencies{{0.9, 1.0, 1.1}, {1.9, 2.0, 2.1}};
  EXPECT_THAT(verdict_text(f), HasSubstr("but it is slower: 2.000 ms an image against 1.000"));
  EXPECT_THAT(warnings_of(f), ::testing::ElementsAre(HasSubstr("slower than the dense network")));
}

TEST(Verdict, FewImagesOverlapZerosAndAssumptionsWarn) {
  VerdictFacts f = good();
  f.samples = 400;
  f.overlap = 3;
  f.calibration_samples = 50;
  f.assumptions = {"input size 3x32x32"};
  f.zero_weights = 0.5;
  f.macs_after = f.macs_before;
  EXPECT_THAT(warnings_of(f),
              ::testing::ElementsAre(HasSubstr("400 images only: it is known to ± 2.55 points"),
                                     HasSubstr("3 calibration images"), HasSubstr("Only 50 calibration images"),
                                     HasSubstr("50 % of the weights are zero"), HasSubstr("input size 3x32x32")));
}

}  // namespace
}  // namespace elek::cli
