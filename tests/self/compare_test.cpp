// SPDX-License-Identifier: Apache-2.0
// The comparator itself: it finds each planted difference and accepts what it must accept.
#include "tests/support/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace elek::test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// Three channels of four positions, each with a mean of its own.
const std::vector<double> kWant = {1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24};
std::vector<float> right() { return {kWant.begin(), kWant.end()}; }

TEST(Compare, AcceptsEqualAndCloseValues) {
  std::vector<float> got = right();
  EXPECT_EQ(compare(got, kWant, 0).count, 0);
  got[5] += 0.5F;
  EXPECT_EQ(compare(got, kWant, 0.5).count, 0) << "the tolerance itself is still accepted";
  EXPECT_EQ(compare(got, kWant, 0, 0.5 / 12).count, 0);
}

TEST(Compare, CatchesAPlantedNan) {
  std::vector<float> got = right();
  got[7] = kNan;
  const Mismatch m = compare(got, kWant, 1e9, 1e9);
  EXPECT_EQ(m.count, 1);
  EXPECT_EQ(m.worst, 7);
  EXPECT_NE(m.message().find("[7]"), std::string::npos) << m.message();
}

TEST(Compare, CatchesInfinity) {
  for (const float bad : {kInf, -kInf}) {
    std::vector<float> got = right();
    got[0] = bad;
    EXPECT_EQ(compare(got, kWant, 1e30).count, 1);
  }
}

TEST(Compare, CatchesASwappedChannel) {
  std::vector<float> got = right();
  std::swap_ranges(got.begin(), got.begin() + 4, got.begin() + 4);
  EXPECT_EQ(compare(got, kWant, 1).count, 8);
}

TEST(Compare, CatchesAnOffByOne) {
  std::vector<float> got = right();
  std::rotate(got.begin(), got.begin() + 1, got.end());  // every value read one place too far
  const Mismatch m = compare(got, kWant, 0.5);
  EXPECT_EQ(m.count, 12);
  EXPECT_EQ(m.worst, 11) << "24 replaced by 1 is the largest error";
  EXPECT_EQ(m.got, 1);
  EXPECT_EQ(m.want, 24);
}

TEST(Compare, CatchesAnAllZeroOutput) {
  const std::vector<float> got(kWant.size(), 0.0F);
  EXPECT_EQ(compare(got, kWant, 0.25, 0.5).count, 12);
}

TEST(Compare, NamesTheWorstOfSeveral) {
  std::vector<float> got = right();
  got[2] += 0.25F;
  got[9] -= 2.0F;
  const Mismatch m = compare(got, kWant, 0.125);
  EXPECT_EQ(m.count, 2);
  EXPECT_EQ(m.worst, 9);
  EXPECT_EQ(m.got, 20);
  EXPECT_EQ(m.want, 22);
  EXPECT_EQ(m.tolerance, 0.125);
}

TEST(Compare, RefusesAReferenceThatIsNotFinite) {
  const std::vector<double> want = {1, kNan, kInf, 4};
  const std::vector<float> same = {1, kNan, kInf, 4};
  EXPECT_EQ(compare(same, want, 1).count, 2);
  EXPECT_EQ(compare(same, want, 1, 0, NonFinite::kSameKind).count, 0);
  const std::vector<float> finite = {1, 2, 3, 4};
  EXPECT_EQ(compare(finite, want, 1e30, 1e30, NonFinite::kSameKind).count, 2);
  const std::vector<float> other_sign = {1, kNan, -kInf, 4};
  EXPECT_EQ(compare(other_sign, want, 1, 0, NonFinite::kSameKind).count, 1);
}

TEST(Compare, RefusesOtherSizesEmptinessAndSenselessTolerances) {
  const std::vector<float> three = {1, 2, 3};
  const std::vector<double> two = {1, 2};
  const std::vector<float> none;
  EXPECT_NE(compare(three, two, 1e9).count, 0);
  EXPECT_NE(compare(none, none, 1).count, 0) << "comparing nothing proves nothing";
  EXPECT_NE(compare(two, two, std::numeric_limits<double>::quiet_NaN()).count, 0);
  EXPECT_NE(compare(two, two, -1).count, 0);
  EXPECT_FALSE(compare(three, two, 1).problem.empty());
}

}  // namespace
}  // namespace elek::test
