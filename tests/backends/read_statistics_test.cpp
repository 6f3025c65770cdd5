// SPDX-License-Identifier: Apache-2.0
// From the kernels' arrays to Statistics: every sum of the table is read, the threads' parts are joined, and sums that were not
// asked for are left out.
#include "backends/read_statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "core/sums.h"

namespace elek::backends {
namespace {

constexpr int64_t kChannels = 3;

/// The arrays of one thread: each sum has other numbers.
struct Part {
  Part(uint32_t sets, int64_t first) : memory(kernels::sum_arrays_bytes(kChannels, sets, 64) / sizeof(double)) {
    arrays = kernels::lay_out_sums(memory.data(), kChannels, sets, 64);
    kernels::for_each_array(
        [&](const SumRow& row, auto* array) {
          for (int64_t c = 0; array != nullptr && c < kChannels; ++c) {
            array[c] = static_cast<std::remove_pointer_t<decltype(array)>>(first + 10 * sum_index(row.name) + c);
          }
        },
        arrays);
  }
  std::vector<double> memory;
  kernels::SumArrays arrays;
};

TEST(ReadStatistics, EverySumIsThatOfItsPartsTogether) {
  for (const uint32_t sets : {uint32_t{kActivity | kPerSample}, uint32_t{kMoments | kAbsolute | kRange}, kKnownSums}) {
    const Part one(sets, 100), two(sets, 1000);
    const std::array parts{one.arrays, two.arrays};
    Statistics statistics;
    read_value_sums({"relu", 0, sets, 0}, {kChannels, 5, 4}, 7, parts, statistics);
    const ValueSums& v = statistics.values.at("relu");
    EXPECT_EQ(v.channels, kChannels);
    EXPECT_EQ(v.samples, 7);
    EXPECT_EQ(v.count, 140);
    EXPECT_EQ(v.nonfinite, 3 * (1100 - 20) + 2 * (0 + 1 + 2)) << "of all channels together";
    for_each_sum(
        [&](const SumRow& row, const auto& got) {
          if ((sets & row.set) == 0) {
            EXPECT_TRUE(got.empty()) << row.name;
            return;
          }
          ASSERT_EQ(std::ssize(got), kChannels) << row.name;
          for (int64_t c = 0; c < kChannels; ++c) {
            const double a = static_cast<double>(100 + 10 * sum_index(row.name) + c), b = a + 900;
            EXPECT_EQ(static_cast<double>(got[static_cast<size_t>(c)]), row.combine == Combine::kMax ? b : a + b) << row.name;
          }
        },
        v);
  }
}

TEST(ReadStatistics, NormsHaveOnePlaceATap) {
  Statistics statistics;
  double* const norms = add_tap_norms("conv", kernels::make_tap_norm_plan({2, 8, 8}, {3, 1, 1, 1}), 5, statistics);
  const TapNorms& made = statistics.tap_norms.at("conv");
  EXPECT_EQ(norms, made.norm_sq.data());
  EXPECT_EQ(made.norm_sq, std::vector<double>(18, 0.0));
  EXPECT_EQ(made.channels * made.kernel.height * made.samples, 2 * 3 * 5);
}

}  // namespace
}  // namespace elek::backends
