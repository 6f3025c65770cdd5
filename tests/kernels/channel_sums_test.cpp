// SPDX-License-Identifier: Apache-2.0
// ChannelSums: layout of the block, reset, reduction over threads (NaN wins a maximum from any of them), refusals.
#include "kernels/cpu/channel_sums.h"

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

constexpr uint32_t kEverything = kActivity | kMoments | kAbsolute | kRange | kPerSample;

TEST(ChannelSums, LaysOutEachThreadApartAndReducesInOrder) {
  const size_t bytes = ChannelSums::bytes(48, kEverything, 3);
  EXPECT_EQ(bytes % ChannelSums::kAlignment, 0U);
  Guarded<double> block(bytes / sizeof(double));
  const ChannelSums sums = ChannelSums::lay_out(block.data(), 37, 48, kEverything, 0, 3);
  sums.reset();
  EXPECT_EQ(block.untouched() * sizeof(double), 0U) << "12 arrays of 48 lanes fill the block";
  for (int t = 0; t < 3; ++t) {
    const SumArrays a = sums.of_thread(t);
    for (int c = 0; c < 48; ++c) {
      a.sum[c] = c + 100.0 * t, a.active[c] = 1, a.max[c] = t == 1 ? c : -1,
      a.mean_peak[c] = (c == 5 && t == 0) || (c == 6 && t == 2) ? std::nan("") : t;
    }
  }
  std::vector<double> sum(37), max(37), peak(37);
  std::vector<int64_t> active(37);
  SumArrays out;
  out.sum = sum.data(), out.max = max.data(), out.active = active.data(), out.mean_peak = peak.data();
  sums.reduce(out);
  EXPECT_EQ(sum[36], 36 * 3 + 300.0);
  EXPECT_EQ(max[36], 36.0);
  EXPECT_EQ(active[36], 3);
  EXPECT_EQ(peak[4], 2.0);
  EXPECT_TRUE(std::isnan(peak[5]) && std::isnan(peak[6])) << "from the first thread and from the last";
  EXPECT_TRUE(block.guards_intact());
}

TEST(ChannelSums, RefusesWhatItCannotLayOut) {
  alignas(128) static double block[1024];
  EXPECT_THROW((void)ChannelSums::bytes(0, kActivity, 1), ContractError);
  EXPECT_THROW((void)ChannelSums::bytes(16, 32, 1), ContractError);
  EXPECT_THROW((void)ChannelSums::lay_out(block + 1, 4, 16, kActivity, 0, 1), ContractError);
  EXPECT_THROW((void)ChannelSums::lay_out(block, 17, 16, kActivity, 0, 1), ContractError);
  const ChannelSums sums = ChannelSums::lay_out(block, 4, 16, kActivity, 0, 1);
  EXPECT_THROW((void)sums.of_thread(1), ContractError);
  SumArrays out;
  out.max = block;
  EXPECT_THROW(sums.reduce(out), ContractError);
}

}  // namespace
}  // namespace elek::test
