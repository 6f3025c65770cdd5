// SPDX-License-Identifier: Apache-2.0
// Percentiles by nearest rank, on numbers that a reader can check.
#include "core/percentile.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace elek {
namespace {

TEST(Percentile, IsTheValueOfTheNearestRank) {
  const std::vector<double> eleven{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_EQ(percentile(eleven, 0), 0);
  EXPECT_EQ(percentile(eleven, 0.1), 1);
  EXPECT_EQ(percentile(eleven, 0.54), 5);
  EXPECT_EQ(percentile(eleven, 0.56), 6);
  EXPECT_EQ(percentile(eleven, 1), 10);
  EXPECT_EQ(percentile(std::vector<double>{7}, 0.9), 7);
  EXPECT_THROW((void)percentile({}, 0.5), ContractError);
}

TEST(Percentile, TheMedianSorts) {
  EXPECT_EQ(median({9, 1, 5}), 5);
  EXPECT_EQ(median({4, 2}), 4) << "of two middle values the upper one";
}

}  // namespace
}  // namespace elek
