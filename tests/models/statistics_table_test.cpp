// SPDX-License-Identifier: Apache-2.0
// Every sum of the table in core/sums.h goes through a file and through a merge. Sums that are added to the table later are
// covered too.
#include <gmock/gmock.h>

#include "core/sums.h"
#include "elek/model.h"
#include "elek/statistics.h"
#include "tests/models/files.h"

namespace elek {
namespace {

using test::Folder;

/// One value with the sums of `sets`, each of them other numbers.
Statistics sample(uint32_t sets, int64_t first) {
  Statistics s;
  s.samples = 4;
  ValueSums& v = s.values["relu"];
  v.channels = 2;
  v.samples = 4;
  v.count = 36;
  for_each_sum(
      [&]<typename T>(const SumRow& row, std::vector<T>& values) {
        if ((sets & row.set) != 0) values = {static_cast<T>(first + 2 * sum_index(row.name)), static_cast<T>(first + 1)};
      },
      v);
  return s;
}

/// f(row, of a, of b) for the sums of both values.
template <typename F>
void compare(const Statistics& a, const Statistics& b, const F& f) {
  for_each_sum(f, a.values.at("relu"), b.values.at("relu"));
}

TEST(StatisticsTable, EverySumComesBackFromAFile) {
  const Folder folder;
  for (const uint32_t sets : {uint32_t{kActivity}, uint32_t{kMoments | kRange}, uint32_t{kAbsolute}, kKnownSums}) {
    const Statistics want = sample(sets, 10);
    save_statistics(want, folder / "a");
    compare(load_statistics(folder / "a"), want, [&](const SumRow& row, const auto& got, const auto& expected) {
      EXPECT_EQ(got, expected) << row.name;
      EXPECT_EQ(got.empty(), (sets & row.set) == 0) << row.name;
    });
  }
}

TEST(StatisticsTable, EverySumMergesAsItsLineSays) {
  Statistics all = sample(kKnownSums, 10);
  const Statistics other = sample(kKnownSums, 100);
  all.merge(other);
  compare(all, other, [](const SumRow& row, const auto& got, const auto& theirs) {
    const auto mine = theirs[0] - 90;
    EXPECT_EQ(got[0], row.combine == Combine::kMax ? theirs[0] : mine + theirs[0]) << row.name;
  });
}

TEST(StatisticsTable, ASetThatOneSideLacksIsRefused) {
  for (const uint32_t set : {kActivity, kMoments, kAbsolute, kRange, kPerSample}) {
    Statistics all = sample(kKnownSums, 10);
    EXPECT_THROW(all.merge(sample(kKnownSums & ~set, 10)), InputError) << set;
  }
}

}  // namespace
}  // namespace elek
