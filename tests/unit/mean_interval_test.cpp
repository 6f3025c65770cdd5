// SPDX-License-Identifier: Apache-2.0
// Quantiles against printed tables of Student's t distribution; intervals against values computed by hand.
#include "core/mean_interval.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "core/error.h"

namespace elek {
namespace {

TEST(MeanInterval, QuantilesAreThoseOfTheTables) {
  struct Row {
    double degrees, t;
  };
  for (const Row row :
       {Row{1, 12.706}, Row{2, 4.303}, Row{5, 2.571}, Row{10, 2.228}, Row{19, 2.093}, Row{38, 2.024}, Row{1000, 1.962}}) {
    EXPECT_NEAR(student_t975(row.degrees), row.t, 5e-4) << row.degrees;
  }
  EXPECT_THROW((void)student_t975(0.5), ContractError);
}

TEST(MeanInterval, OfFiveValues) {
  constexpr std::array<double, 5> kValues{1, 2, 3, 4, 5};  // mean 3, standard error sqrt(2.5 / 5), four degrees: 2.776
  const MeanInterval found = mean_interval(kValues);
  EXPECT_DOUBLE_EQ(found.mean, 3);
  EXPECT_NEAR(found.high - 3, 2.7764 * std::sqrt(0.5), 1e-3);
  EXPECT_NEAR(3 - found.low, found.high - 3, 1e-12);
  EXPECT_THROW((void)mean_interval(std::span(kValues).first(1)), ContractError);
}

TEST(MeanInterval, OfADifferenceWithUnequalSpread) {
  constexpr std::array<double, 5> kA{1, 2, 3, 4, 5};
  constexpr std::array<double, 3> kB{10, 20, 30};  // variance 100, error^2 33.33; a: 0.5
  const MeanInterval found = difference_interval(kA, kB);
  EXPECT_DOUBLE_EQ(found.mean, -17);
  const double squared = 0.5 + 100.0 / 3;
  const double degrees = squared * squared / (0.5 * 0.5 / 4 + (100.0 / 3) * (100.0 / 3) / 2);
  EXPECT_NEAR(found.high + 17, student_t975(degrees) * std::sqrt(squared), 1e-9);
  const MeanInterval same = difference_interval(std::array<double, 2>{1, 1}, std::array<double, 2>{2, 2});
  EXPECT_EQ(same.low, -1);
  EXPECT_EQ(same.high, -1);
}

}  // namespace
}  // namespace elek
