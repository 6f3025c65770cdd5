// SPDX-License-Identifier: Apache-2.0
// The table of sums (core/sums.h): the promises of its lines to the code that is generated from them.
#include "core/sums.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <string_view>
#include <type_traits>

namespace elek {
namespace {

struct OneOfEach {
#define ELEK_ONE(name, set, type, combine) type name{};
  ELEK_SUMS(ELEK_ONE)
#undef ELEK_ONE
};

// Numbers and names that files and kernels depend on.
static_assert(kKnownSums == 31);
static_assert(sum_index("sum") == 0 && sum_index("mean_sum_sq") == 10);
static_assert(sum_index("nonfinite") == -1, "counted always, and in no set");

TEST(SumTable, EveryLineIsOneSetAndOneTypeAndOneName) {
  std::set<std::string_view> names;
  for_each_sum(
      [&]<typename T>(const SumRow& row, const T&) {
        static_assert(std::is_same_v<T, double> || std::is_same_v<T, int64_t>);
        EXPECT_TRUE(names.insert(row.name).second) << row.name;
        EXPECT_EQ(row.set & (row.set - 1), 0U) << row.name << " belongs to one set";
        EXPECT_NE(row.set, 0U) << row.name;
        EXPECT_EQ(sum_index(row.name) + 1, static_cast<int>(names.size())) << row.name;
        EXPECT_TRUE(row.combine == Combine::kAdd || (std::is_same_v<T, double>))
            << row.name << ": a maximum begins at -infinity";
      },
      OneOfEach());
  EXPECT_EQ(names.size(), 11U);
}

TEST(SumTable, VisitsTheSameFieldOfEveryStruct) {
  OneOfEach a, b;
  a.max = 3, b.max = 4, a.fired = 5, b.fired = 6;
  int seen = 0;
  for_each_sum(
      [&](const SumRow& row, auto& mine, const auto& theirs) {
        mine = combined(row.combine, mine, theirs);
        ++seen;
      },
      a, b);
  EXPECT_EQ(seen, 11);
  EXPECT_EQ(a.max, 4);
  EXPECT_EQ(a.fired, 11);
}

TEST(SumTable, NanWinsEveryMaximum) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN(), kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(std::isnan(combined(Combine::kMax, kNan, kInfinity)));
  EXPECT_TRUE(std::isnan(combined(Combine::kMax, kInfinity, kNan)));
  EXPECT_TRUE(std::isnan(keep_larger(-std::numeric_limits<float>::infinity(), std::nanf(""))));
  EXPECT_EQ(combined(Combine::kMax, -kInfinity, -2.0), -2.0);
  EXPECT_EQ(keep_larger(int64_t{3}, int64_t{2}), 3);
  EXPECT_EQ(combined(Combine::kAdd, 1.5, 2.0), 3.5);
}

}  // namespace
}  // namespace elek
