// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "elek/session.h"

namespace elek {
namespace {

TEST(TopClasses, NanComesLastAndShowsInEveryProbability) {
  const float logits[] = {std::numeric_limits<float>::quiet_NaN(), -5, 7};
  const auto top = top_classes(logits, 3);
  EXPECT_EQ(top[0].index, 2U);
  EXPECT_EQ(top[1].index, 1U);
  EXPECT_EQ(top[2].index, 0U);
  for (const ClassProbability& one : top) EXPECT_TRUE(std::isnan(one.probability));
}

TEST(TopClasses, LargeLogitsDoNotOverflow) {
  const float logits[] = {1000, 999};
  const auto top = top_classes(logits, 5);  // more than there are: returns all
  ASSERT_EQ(top.size(), 2U);
  EXPECT_NEAR(top[0].probability, 1 / (1 + std::exp(-1.0)), 1e-12);
}

}  // namespace
}  // namespace elek
