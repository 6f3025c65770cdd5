// SPDX-License-Identifier: Apache-2.0
// Adding to slabs: many launches add f32 sums to double and int64 totals, exactly if one addition in double is exact.
#include "kernels/cuda/slab.h"

#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

using namespace elek::kernels;        // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

using SlabKernel = KernelTest;

TEST_F(SlabKernel, EveryEntryAddsInItsOwnWay) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  constexpr size_t kMost = 300;  // more than one block
  std::vector<float> sums(kMost), counts(kMost), maxima(kMost);
  for (size_t c = 0; c < kMost; ++c) {
    sums[c] = 0.1F * static_cast<float>(c) - 3.0F;
    counts[c] = static_cast<float>(c * 50000);  // up to 1.5e7 < 2^24: exact in f32
    maxima[c] = static_cast<float>(c % 7);
  }
  sums[4] = kNan, sums[5] = kInf, maxima[6] = kNan, counts[7] = kNan;
  DeviceBuffer from_sums(kMost * 4), from_counts(kMost * 4), from_maxima(7 * 4);
  from_sums.upload(sums), from_counts.upload(counts);
  from_maxima.upload(std::vector<float>(maxima.begin(), maxima.begin() + 7));
  DeviceBuffer sum(kMost * 8), count(kMost * 8), max(7 * 8), bad(kMost * 8), table(4 * sizeof(SlabEntry));
  sum.upload(std::vector<double>(kMost, 1e9)), count.upload(std::vector<int64_t>(kMost, int64_t{1} << 40));
  max.upload(std::vector<double>(7, 2.5)), bad.upload(std::vector<int64_t>(kMost, 3));
  table.upload(std::vector<SlabEntry>{{from_sums.as<float>(), sum.as<void>(), kMost, SlabOp::kAddToDouble, 0},
                                      {from_counts.as<float>(), count.as<void>(), kMost, SlabOp::kAddToCount, 0},
                                      {from_maxima.as<float>(), max.as<void>(), 7, SlabOp::kMaxToDouble, 0},
                                      {from_sums.as<float>(), bad.as<void>(), kMost, SlabOp::kCountNonfinite, 0}});
  for (int pass = 0; pass < 3; ++pass) launch_accumulate_slab(table.as<SlabEntry>(), 4, kMost, nullptr);
  const auto got_sum = sum.download<double>(), got_max = max.download<double>();
  const auto got_count = count.download<int64_t>(), got_bad = bad.download<int64_t>();
  for (size_t c = 0; c < kMost; ++c) {
    const auto v = static_cast<double>(sums[c]);
    const double want = 1e9 + v + v + v;
    EXPECT_TRUE(std::isnan(want)   ? std::isnan(got_sum[c])
                : std::isinf(want) ? got_sum[c] == want
                                   : std::fabs(got_sum[c] - want) <= 1e-6)
        << c;
    EXPECT_EQ(got_bad[c], c == 4 || c == 5 ? 6 : 3) << c;
    EXPECT_EQ(got_count[c], (int64_t{1} << 40) + (c == 7 ? 0 : static_cast<int64_t>(c) * 150000)) << c;
    if (c < 6) {
      EXPECT_EQ(got_max[c], std::max(2.5, static_cast<double>(c % 7))) << c;
    }
  }
  EXPECT_TRUE(std::isnan(got_max[6]));
}

TEST_F(SlabKernel, RefusesWhatDoesNotFit) {
  const DeviceBuffer table(sizeof(SlabEntry));
  EXPECT_THROW(launch_accumulate_slab(nullptr, 1, 8, nullptr), ContractError);
  EXPECT_THROW(launch_accumulate_slab(table.as<SlabEntry>(), 0, 8, nullptr), ContractError);
  EXPECT_THROW(launch_accumulate_slab(table.as<SlabEntry>(), 65536, 8, nullptr), ContractError);
  EXPECT_THROW(launch_accumulate_slab(table.as<SlabEntry>(), 1, 0, nullptr), ContractError);
}

}  // namespace
}  // namespace elek::test
