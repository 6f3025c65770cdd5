// SPDX-License-Identifier: Apache-2.0
// Pools compared with double: maxima are exact, averages exact on integers and otherwise within their rounding; NaN wins;
// padding lanes are zero; the optional sums equal the reference's over the stored values.
#include "kernels/cuda/pool.h"

#include <numeric>

#include "kernels/cuda/epilogue.h"
#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

using namespace elek::kernels;        // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

ImageShape pooled(const ImageShape& in, const PoolWindow& w) {
  return Window{w.kernel, w.stride, w.padding, 1}.slide(in, w.rounding);
}

/// Maximum or sum over each window, in double; `absolute`: of |x|.
template <bool kMax>
std::vector<double> windows(const std::vector<float>& x, int64_t samples, const ImageShape& in, const PoolWindow& w,
                            bool absolute) {
  const ImageShape out = pooled(in, w);
  std::vector<double> y;
  for (int64_t plane = 0; plane < samples * in.channels; ++plane) {
    for (int64_t p = 0; p < out.height; ++p) {
      for (int64_t q = 0; q < out.width; ++q) {
        double value = kMax ? kLowest : 0.0;
        for (int64_t r = 0; r < w.kernel.height; ++r) {
          for (int64_t s = 0; s < w.kernel.width; ++s) {
            const int64_t h = p * w.stride.height - w.padding.top + r, i = q * w.stride.width - w.padding.left + s;
            if (h < 0 || h >= in.height || i < 0 || i >= in.width) continue;
            auto v = static_cast<double>(x[static_cast<size_t>((plane * in.height + h) * in.width + i)]);
            if (absolute) v = std::fabs(v);
            value = kMax ? (v > value || std::isnan(v) ? v : value) : value + v;
          }
        }
        y.push_back(value);
      }
    }
  }
  return y;
}

constexpr PoolWindow kWindows[] = {{3, 2, 1},
                                   {2, 2, 0},
                                   {3, 1, 1},
                                   {2, 1, 1},
                                   {1, 1, 0},
                                   {3, 2, 1, Rounding::kUp},
                                   {{2, 3}, {1, 2}, {1, 0, 0, 2}, Rounding::kDown, false},
                                   {{3, 2}, 2, {2, 0, 1, 1}, Rounding::kUp, false}};

/// Positions of each window that the divisor counts.
std::vector<double> divisors(const ImageShape& in, const PoolWindow& w) {
  const ImageShape out = pooled(in, w);
  std::vector<double> all;
  for (int64_t p = 0; p < out.height; ++p) {
    for (int64_t q = 0; q < out.width; ++q) {
      int64_t counted = 0;
      for (int64_t r = 0; r < w.kernel.height; ++r) {
        for (int64_t s = 0; s < w.kernel.width; ++s) {
          const int64_t h = p * w.stride.height - w.padding.top + r, i = q * w.stride.width - w.padding.left + s;
          const bool in_image = h >= 0 && i >= 0 && h < in.height && i < in.width;
          const bool padded = h < in.height + w.padding.bottom && i < in.width + w.padding.right;
          counted += in_image || (w.counts_padding && padded) ? 1 : 0;
        }
      }
      all.push_back(static_cast<double>(counted));
    }
  }
  return all;
}

using PoolCase = KernelCaseTest;

TEST_P(PoolCase, MaximaAreExact) {
  const auto [dtype, channels] = GetParam();
  size_t turn = static_cast<size_t>(channels);
  for (const ImageShape& shape : {ImageShape{channels, 7, 7}, ImageShape{channels, 4, 9}, ImageShape{channels, 1, 1}}) {
    for (const int64_t samples : {1, 3}) {
      const PoolWindow w = shape.height == 1 ? PoolWindow{3, 2, 1} : kWindows[turn % std::size(kWindows)];
      const auto values = random_values(samples, shape, dtype, ++turn);
      const bool dense = turn % 2 == 0;
      const DeviceActivation x(dtype, samples, shape, pitch_of(channels, dense ? Pitch::kDense : Pitch::kPadded), values);
      const DeviceActivation y(dtype, samples, pooled(shape, w),
                               pitch_of(channels, turn % 3 == 0 ? Pitch::kDense : Pitch::kPadded));
      launch_max_pool(x.view(), y.view(), w, {}, nullptr);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      const Mismatch m = compare(y.values(), windows<true>(values, samples, shape, w, false), 0);
      EXPECT_EQ(m.count, 0) << to_string(shape) << " kernel " << to_string(w.kernel) << ": " << m.message();
      EXPECT_EQ(y.dirty_padding(), 0);
    }
  }
}

TEST_P(PoolCase, AveragesAreWithinTheirRounding) {
  const auto [dtype, channels] = GetParam();
  size_t turn = static_cast<size_t>(channels);
  for (const bool integers : {true, false, false, false}) {
    const ImageShape shape{channels, 6, 7};
    const PoolWindow w = integers ? PoolWindow{2, 2, 0} : kWindows[turn++ % std::size(kWindows)];  // a division by 4 is exact
    const auto values =
        integers ? small_integers(static_cast<size_t>(2 * shape.elements()), 3) : random_values(2, shape, dtype, 4);
    const DeviceActivation x(dtype, 2, shape, pitch_of(channels, integers ? Pitch::kPadded : Pitch::kDense), values);
    const DeviceActivation y(dtype, 2, pooled(shape, w), x.pitch);
    launch_avg_pool(x.view(), y.view(), w, {}, nullptr);
    auto want = windows<false>(values, 2, shape, w, false), size = windows<false>(values, 2, shape, w, true);
    const auto most = static_cast<double>(w.kernel.area());
    const std::vector<double> areas = divisors(shape, w);
    const std::vector<float> got = y.values();
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) {  // kernel^2 additions and one division in f32, one rounding to the type
      const double area = areas[i % areas.size()], mean = want[i] / area;
      const double tolerance =
          integers ? 0 : (most + 1) * kU * size[i] / area + unit_of(dtype) * std::fabs(mean) * 1.01 + floor_of(dtype);
      ASSERT_TRUE(std::fabs(static_cast<double>(got[i]) - mean) <= tolerance) << i << " got " << got[i] << ", want " << mean;
    }
    EXPECT_EQ(y.dirty_padding(), 0);
  }
}

TEST_P(PoolCase, GlobalAverages) {
  const auto [dtype, channels] = GetParam();
  size_t turn = static_cast<size_t>(channels);
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 7}, {19, 20}, {8, 8}}) {
    for (const int64_t samples : {1, 3}) {
      const ImageShape shape{channels, h, w};
      const bool integers = h == 8;  // a division by 64 is exact
      const auto values = integers ? small_integers(static_cast<size_t>(samples * shape.elements()), ++turn)
                                   : random_values(samples, shape, dtype, ++turn);
      const DType to = turn % 3 == 0 ? DType::kF32 : dtype;
      const DeviceActivation x(dtype, samples, shape, pitch_of(channels, turn % 2 == 0 ? Pitch::kDense : Pitch::kPadded),
                               values);
      const DeviceActivation y(to, samples, {channels, 1, 1},
                               pitch_of(channels, turn % 4 < 2 ? Pitch::kDense : Pitch::kPadded));
      launch_global_avg_pool(x.view(), y.view(), {}, nullptr);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      const std::vector<float> got = y.values();
      const auto positions = static_cast<size_t>(shape.positions());
      for (size_t i = 0; i < got.size(); ++i) {
        double sum = 0, size = 0;
        for (size_t p = 0; p < positions; ++p) {
          sum += static_cast<double>(values[i * positions + p]);
          size += std::fabs(static_cast<double>(values[i * positions + p]));
        }
        const double mean = sum / static_cast<double>(positions);
        const double chains = integers ? 0 : (8 * kU + kWide) * size / static_cast<double>(positions);
        const double tolerance = chains + (unit_of(to) + kU) * std::fabs(mean) * 1.01 + floor_of(to);
        ASSERT_TRUE(std::fabs(static_cast<double>(got[i]) - mean) <= tolerance)
            << to_string(shape) << " [" << i << "] got " << got[i] << ", want " << mean << " +- " << tolerance;
      }
      EXPECT_EQ(y.dirty_padding(), 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, PoolCase, testing::ValuesIn(kernel_cases()), case_name);

using PoolKernel = KernelTest;

TEST_F(PoolKernel, NanWinsAndTheSumsAreOfWhatWasStored) {
  const ImageShape shape{6, 8, 8};
  auto values = small_integers(static_cast<size_t>(2 * shape.elements()), 8);
  values[70] = std::numeric_limits<float>::quiet_NaN();
  const PoolWindow w{3, 2, 1};
  const DeviceActivation x(DType::kF16, 2, shape, 8, values);
  const DeviceActivation y(DType::kF16, 2, pooled(shape, w), 8), mean(DType::kF16, 2, {6, 1, 1}, 8);
  const uint32_t sets = kActivity | kRange;
  for (const DeviceActivation* out : {&y, &mean}) {
    DeviceBuffer block(ChannelTotals::bytes(6, sets));
    const DeviceBuffer workspace(epilogue_workspace_bytes(2, out->shape, sets));
    std::vector<double> image(block.size() / 8);
    ChannelTotals::lay_out(image.data(), 6, sets, 0.0F).reset_host();
    block.upload(image);
    const ChannelTotals totals = ChannelTotals::lay_out(block.as<void>(), 6, sets, 0.0F);
    const PoolSums sums{&totals, workspace.as<void>(), workspace.size()};
    if (out == &y) {
      launch_max_pool(x.view(), y.view(), w, sums, nullptr);
      const Mismatch m = compare(y.values(), windows<true>(values, 2, shape, w, false), 0, 0, NonFinite::kSameKind);
      EXPECT_EQ(m.count, 0) << m.message();
    } else {
      launch_global_avg_pool(x.view(), mean.view(), sums, nullptr);
    }
    image = block.download<double>();
    const SumArrays got = ChannelTotals::lay_out(image.data(), 6, sets, 0.0F).arrays;
    const ChannelSums want = channel_sums(out->values(), 2, out->shape, 0.0F);
    for (size_t c = 0; c < 6; ++c) {
      EXPECT_EQ(got.active[c], want.active[c]);
      EXPECT_TRUE(std::isnan(want.sum[c]) ? std::isnan(got.sum[c])
                                          : std::fabs(got.sum[c] - want.sum[c]) <= 1e-6 * want.abs_sum[c]);
      EXPECT_TRUE(std::isnan(want.max[c]) ? std::isnan(got.max[c]) : got.max[c] == want.max[c]);
    }
    EXPECT_TRUE(std::isnan(got.sum[1]));  // element 70 is of channel 1
    EXPECT_EQ(std::accumulate(got.nonfinite, got.nonfinite + 6, int64_t{0}), want.nonfinite);
    EXPECT_GT(want.nonfinite, 0);
  }
}

TEST_F(PoolKernel, RefusesWhatDoesNotFit) {
  const DeviceActivation x(DType::kF16, 1, {8, 7, 7}, 8), y(DType::kF16, 1, {8, 4, 4}, 8), wide(DType::kF32, 1, {8, 4, 4}, 8);
  EXPECT_NO_THROW(launch_max_pool(x.view(), y.view(), {3, 2, 1}, {}, nullptr));
  EXPECT_THROW(launch_max_pool(x.view(), y.view(), {3, 1, 1}, {}, nullptr), ContractError);
  EXPECT_THROW(launch_max_pool(x.view(), y.view(), {2, 2, 2}, {}, nullptr), ContractError);
  EXPECT_THROW(launch_max_pool(x.view(), y.view(), {3, 0, 1}, {}, nullptr), ContractError);
  EXPECT_THROW(launch_max_pool(x.view(), wide.view(), {3, 2, 1}, {}, nullptr), ContractError);
  EXPECT_THROW(launch_global_avg_pool(x.view(), y.view(), {}, nullptr), ContractError);
}

}  // namespace
}  // namespace elek::test
