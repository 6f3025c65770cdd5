// SPDX-License-Identifier: Apache-2.0
// Fused or split: the fastest of the available ways is chosen, and the text gives the reason.
#include "backends/cuda/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace elek::backends::cuda {
namespace {

using ::testing::HasSubstr;

FusionOption option(Fusion fusion, double kernel_us, double pass_us = 0, const std::string& no = "") {
  return {fusion, "eng1", kernel_us, pass_us, no};
}

TEST(Choose, TakesTheFastestCountingTheSecondPass) {
  std::vector<FusionOption> options{option(Fusion::kAll, 12), option(Fusion::kAllButSums, 9, 5), option(Fusion::kNone, 8, 6)};
  auto choice = choose(options);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice.value().index, 0U);
  EXPECT_EQ(choice.value().reason,
            "fused 12.0 us <= split, observe 14.0 us (9.0 us + 5.0 us), split, epilogue 14.0 us (8.0 us + 6.0 us)");
  options[0].kernel_us = 15;
  choice = choose(options);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice.value().index, 1U) << "the first of equals";
  options[2].pass_us = 5;
  choice = choose(options);
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice.value().index, 2U);
}

TEST(Choose, TakesWhatThereIsAndSaysWhyNotTheOther) {
  const auto split = choose(std::vector{option(Fusion::kAll, 0, 0, "no engine"), option(Fusion::kNone, 9, 5)});
  ASSERT_TRUE(split);
  EXPECT_EQ(split.value().index, 1U);
  EXPECT_EQ(split.value().reason, "split, epilogue 14.0 us (9.0 us + 5.0 us); fused: no engine");
  const auto fused = choose(std::vector{option(Fusion::kAll, 7), option(Fusion::kNone, 0, 0, "no kernel")});
  ASSERT_TRUE(fused);
  EXPECT_EQ(fused.value().index, 0U);
  EXPECT_THAT(fused.value().reason, HasSubstr("no kernel"));
}

TEST(Choose, SaysNoWithAllReasons) {
  const auto none = choose(std::vector{option(Fusion::kAll, 0, 0, "a"), option(Fusion::kAllButSums, 0, 0, "b")});
  ASSERT_FALSE(none);
  EXPECT_EQ(none.reason(), "fused: a; split, observe: b");
}

TEST(Choose, ComparesNoTimesThatItHasNot) {
  for (const double last : {0.0, 1.0}) {
    const auto choice =
        choose(std::vector{option(Fusion::kAll, 0, 0, "none"), option(Fusion::kAllButSums, 3, 1), option(Fusion::kNone, last)});
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice.value().index, last > 0 ? 2U : 1U);
    EXPECT_EQ(choice.value().reason.find("not compared") == std::string::npos, last > 0);
  }
}

}  // namespace
}  // namespace elek::backends::cuda
