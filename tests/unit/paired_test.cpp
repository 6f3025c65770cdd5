// SPDX-License-Identifier: Apache-2.0
// Paired differences of accuracies against McNemar's formula, which counts the images that only one network gets right;
// and the error that few draws add.
#include "core/paired.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/runtime.h"

namespace elek {
namespace {

TEST(Paired, MeanAndErrorOfAFewNumbers) {
  const std::vector<double> values{1, 2, 3, 6};
  const Estimate estimate = mean_of(values);
  EXPECT_DOUBLE_EQ(estimate.value, 3);
  EXPECT_DOUBLE_EQ(estimate.standard_error, std::sqrt((4.0 + 1 + 0 + 9) / 3 / 4));
  EXPECT_EQ(mean_of(std::vector<double>{7}).standard_error, 0) << "one value has no spread";
  EXPECT_EQ(mean_of({}).value, 0);
  EXPECT_DOUBLE_EQ(spread_of(values), std::sqrt(14.0 / 3));
}

/// With b images that only the first gets right and c that only the second does, of n: the difference is (b - c) / n, and its
/// squared error is (b + c - (b - c)^2 / n) / (n (n - 1)).
TEST(Paired, TwoNetworksAreComparedAsMcNemarDoes) {
  Random random(5);
  for (const size_t n : {size_t{2}, size_t{17}, size_t{400}}) {
    Judged first, second;
    double b = 0, c = 0;
    for (size_t i = 0; i < n; ++i) {
      first.right.push_back(random.below(10) < 8 ? 1.0F : 0.0F);
      second.right.push_back(random.below(10) < 7 ? 1.0F : 0.0F);
      b += first.right[i] > second.right[i] ? 1 : 0;
      c += second.right[i] > first.right[i] ? 1 : 0;
    }
    const auto images = static_cast<double>(n);
    const Estimate estimate = paired_difference(first, second);
    EXPECT_NEAR(estimate.value, (b - c) / images, 1e-12);
    EXPECT_NEAR(estimate.standard_error, std::sqrt((b + c - (b - c) * (b - c) / images) / (images * (images - 1))), 1e-12);
    EXPECT_EQ(paired_difference(first, first).standard_error, 0) << "equal networks do not differ on any image";
  }
}

TEST(Paired, FewDrawsAddTheirError) {
  const Judged one{{1, 0, 1, 1}, {}};
  const Judged drawn{{0.5F, 0.5F, 0.5F, 0.5F}, {0.25, 0.75}};
  const double images = paired_difference(one, {drawn.right, {}}).standard_error;
  EXPECT_DOUBLE_EQ(paired_difference(one, drawn).standard_error, std::hypot(images, std::sqrt(0.125 / 2)));
  EXPECT_THROW((void)paired_difference(one, {{1}, {}}), ContractError);
}

TEST(Paired, SignificantIsMoreThanTwoErrors) {
  EXPECT_TRUE((Estimate{-0.3, 0.1}.is_significant()));
  EXPECT_FALSE((Estimate{0.2, 0.1}.is_significant()));
  EXPECT_FALSE((Estimate{}.is_significant()));
}

}  // namespace
}  // namespace elek
