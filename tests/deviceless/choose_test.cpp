// SPDX-License-Identifier: Apache-2.0
// Fused or split: the faster of the available ways is chosen, and the text gives the reason.
#include "backends/cuda/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace elek::backends::cuda {
namespace {

using ::testing::HasSubstr;

FusionOption option(Fusion fusion, double kernel_us, double pass_us = 0, const std::string& no = "") {
  return {fusion, "eng1", kernel_us, pass_us, no};
}

TEST(Choose, TakesTheFasterCountingTheSecondPass) {
  const auto fused = choose(option(Fusion::kAll, 12), option(Fusion::kAllButSums, 9, 5));
  ASSERT_TRUE(fused);
  EXPECT_TRUE(fused.value().first);
  EXPECT_EQ(fused.value().reason, "fused 12.0 us <= split, observe 14.0 us (9.0 us + 5.0 us)");
  const auto split = choose(option(Fusion::kAll, 15), option(Fusion::kAllButSums, 9, 5));
  ASSERT_TRUE(split);
  EXPECT_FALSE(split.value().first);
}

TEST(Choose, TakesWhatThereIsAndSaysWhyNotTheOther) {
  const auto split = choose(option(Fusion::kAll, 0, 0, "no engine"), option(Fusion::kNone, 9, 5));
  ASSERT_TRUE(split);
  EXPECT_FALSE(split.value().first);
  EXPECT_THAT(split.value().reason, HasSubstr("fused: no engine"));
  const auto fused = choose(option(Fusion::kAll, 7), option(Fusion::kNone, 0, 0, "no kernel"));
  ASSERT_TRUE(fused);
  EXPECT_TRUE(fused.value().first);
  EXPECT_THAT(fused.value().reason, HasSubstr("no kernel"));
}

TEST(Choose, SaysNoWithBothReasons) {
  const auto none = choose(option(Fusion::kAll, 0, 0, "a"), option(Fusion::kAllButSums, 0, 0, "b"));
  ASSERT_FALSE(none);
  EXPECT_THAT(none.reason(), HasSubstr("fused: a"));
  EXPECT_THAT(none.reason(), HasSubstr("split, observe: b"));
}

TEST(Choose, ComparesNoTimesThatItHasNot) {
  const auto choice = choose(option(Fusion::kAll, 0), option(Fusion::kAllButSums, 1, 1));
  ASSERT_TRUE(choice);
  EXPECT_TRUE(choice.value().first);
  EXPECT_THAT(choice.value().reason, HasSubstr("not compared"));
}

}  // namespace
}  // namespace elek::backends::cuda
