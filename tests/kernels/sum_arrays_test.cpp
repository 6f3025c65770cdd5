// SPDX-License-Identifier: Apache-2.0
// SumArrays: layout in a block, reset, combination, restriction to sets; every line of the table is covered.
#include "kernels/common/sum_arrays.h"

#include <cmath>
#include <limits>

#include "core/sums.h"
#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;  // NOLINT(google-build-using-namespace): a test file

constexpr double kLowest = -std::numeric_limits<double>::infinity();

/// A block of its own, reset.
struct Block {
  explicit Block(int64_t channels, uint32_t sets = kKnownSums)
      : memory(sum_arrays_bytes(channels, sets, 64) / sizeof(double)), arrays(lay_out_sums(memory.data(), channels, sets, 64)) {
    reset_sums(arrays, channels);
  }
  Guarded<double> memory;
  SumArrays arrays;
};

TEST(SumArrays, LieOneAfterTheOtherInTheOrderOfTheTable) {
  for (const uint32_t sets : {0U, uint32_t{kActivity}, uint32_t{kPerSample | kRange}, kKnownSums}) {
    const size_t bytes = sum_arrays_bytes(9, sets, 128);
    alignas(128) static std::byte memory[12 * 128];
    const std::byte* next = memory;
    for_each_array(
        [&](const SumRow& row, const auto* array) {
          if ((sets & row.set) != row.set) {
            EXPECT_EQ(array, nullptr) << row.name;
            return;
          }
          EXPECT_EQ(reinterpret_cast<const std::byte*>(array), next) << row.name;
          next += 128;  // 9 * 8 bytes, rounded up
        },
        lay_out_sums(memory, 9, sets, 128));
    EXPECT_EQ(next, memory + bytes) << sets;
  }
}

TEST(SumArrays, BeginWithNothingSeen) {
  const Block block(5);
  for_each_array(
      [](const SumRow& row, const auto* array) {
        const double want = row.combine == Combine::kMax ? kLowest : 0.0;
        for (int c = 0; c < 5; ++c) EXPECT_EQ(static_cast<double>(array[c]), want) << row.name;
      },
      block.arrays);
  EXPECT_TRUE(block.memory.guards_intact());
}

TEST(SumArrays, CombineEachAsTheTableSays) {
  const Block to(3), from(3);
  for_each_array(
      [](const SumRow&, auto* mine, auto* theirs) {
        using T = std::remove_pointer_t<decltype(mine)>;
        mine[0] = T{5}, theirs[0] = T{7}, mine[1] = T{7}, theirs[1] = T{5}, mine[2] = T{1};
        if constexpr (std::is_same_v<T, double>) theirs[2] = std::nan("");
      },
      to.arrays, from.arrays);
  SumArrays wanted = to.arrays;
  wanted.abs_sum = nullptr;
  combine_sums(wanted, from.arrays, 3);
  for_each_array(
      [&](const SumRow& row, const auto* array) {
        const double want = row.name == "abs_sum" ? 5.0 : row.combine == Combine::kMax ? 7.0 : 12.0;
        EXPECT_EQ(static_cast<double>(array[0]), want) << row.name;
        EXPECT_EQ(static_cast<double>(array[1]), row.name == "abs_sum" ? 7.0 : want) << row.name;
        const bool real = std::is_same_v<decltype(array), const double*>;
        EXPECT_EQ(std::isnan(static_cast<double>(array[2])), real && row.name != "abs_sum") << row.name;
      },
      to.arrays);
  SumArrays less = from.arrays;
  less.max = nullptr;
  EXPECT_THROW(combine_sums(to.arrays, less, 3), ContractError);
}

TEST(SumArrays, KeepTheSetsThatAreAskedFor) {
  const Block block(4);
  for (const uint32_t set : {kActivity, kMoments, kAbsolute, kRange, kPerSample}) {
    const SumArrays only = only_sets(block.arrays, set, Nonfinite::kLeave);
    EXPECT_EQ(only.nonfinite, nullptr);
    for_each_sum([&](const SumRow& row, const auto* array) { EXPECT_EQ(array != nullptr, row.set == set) << row.name; }, only);
  }
  EXPECT_EQ(only_sets(block.arrays, 0, Nonfinite::kCount).nonfinite, block.arrays.nonfinite);
}

TEST(SumArrays, MoveToAChannel) {
  const Block block(4, kActivity | kRange);
  for_each_array([](const SumRow& row, const auto* moved,
                    const auto* array) { EXPECT_EQ(moved, array == nullptr ? nullptr : array + 3) << row.name; },
                 at_channel(block.arrays, 3), block.arrays);
}

}  // namespace
}  // namespace elek::test
