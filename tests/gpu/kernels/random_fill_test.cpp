// SPDX-License-Identifier: Apache-2.0
// The fill of memory for timing: ordinary numbers in every type, of both signs, hardly any two equal, and nothing beyond.
#include "kernels/cuda/random_fill.h"

#include <set>

#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

using RandomFillKernel = KernelTest;

TEST_F(RandomFillKernel, MakesOrdinaryNumbersOfEveryType) {
  constexpr size_t kBytes = size_t{4} << 20;  // more than one round of the grid
  DeviceBuffer data(kBytes);
  launch_random_fill(data.as<void>(), kBytes, 1, nullptr);
  const auto bytes = data.download<std::byte>();
  for (const DType dtype : {DType::kF16, DType::kBF16, DType::kF32}) {
    const double least = dtype == DType::kF16 ? 0.5 : 0x1p-15, most = dtype == DType::kF16 ? 1.0 : 0x1p-7;
    const std::vector<float> values = decoded(bytes, dtype);
    size_t outside = 0, negative = 0;
    for (const float v : values) {
      const double a = std::fabs(static_cast<double>(v));
      outside += a >= least && a < most ? 0 : 1;
      negative += v < 0 ? 1 : 0;
    }
    EXPECT_EQ(outside, 0U);
    const auto n = static_cast<double>(values.size());
    EXPECT_NEAR(static_cast<double>(negative), n / 2, 5 * std::sqrt(n) / 2) << "five deviations of a fair coin";
  }
  const auto words = data.download<uint64_t>();
  EXPECT_EQ(std::set<uint64_t>(words.begin(), words.end()).size(), words.size()) << "44 random bits: 0.008 pairs are expected";
}

TEST_F(RandomFillKernel, FillsTheLastBytesAndIsRepeatable) {
  for (const size_t bytes : {size_t{1}, size_t{7}, size_t{8}, size_t{13}}) {
    DeviceBuffer first(bytes), second(bytes), other(bytes);
    launch_random_fill(first.as<void>(), bytes, 1, nullptr);
    launch_random_fill(second.as<void>(), bytes, 1, nullptr);
    launch_random_fill(other.as<void>(), bytes, 2, nullptr);
    const auto got = first.download<uint8_t>();
    EXPECT_EQ(got, second.download<uint8_t>());
    EXPECT_NE(got, other.download<uint8_t>());
    if (bytes > 1) {
      EXPECT_NE(got[bytes - 1], 0xFF) << "left as it was";
    }
  }
  DeviceBuffer data(16);
  EXPECT_THROW(launch_random_fill(nullptr, 8, 1, nullptr), ContractError);
  EXPECT_THROW(launch_random_fill(data.as<uint8_t>() + 1, 8, 1, nullptr), ContractError);
}

}  // namespace
}  // namespace elek::test
