// SPDX-License-Identifier: Apache-2.0
// Batch moments compared with a two-pass reference in double, including a mean far above the deviation (where the mean square
// minus the squared mean keeps no digit) and constant channels, whose variance must be exactly 0.
#include "kernels/cpu/batch_moments.h"

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

struct Moments {
  std::vector<double> mean, biased, unbiased;
};

Moments two_pass(const std::vector<float>& nchw, int64_t samples, const ImageShape& shape) {
  const auto channels = static_cast<size_t>(shape.channels), positions = static_cast<size_t>(shape.positions());
  Moments m;
  for (size_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    const auto each = [&](auto f) {
      for (size_t n = 0; n < static_cast<size_t>(samples); ++n) {
        for (size_t p = 0; p < positions; ++p) f(static_cast<double>(nchw[(n * channels + c) * positions + p]));
      }
    };
    const double count = static_cast<double>(samples) * static_cast<double>(positions);
    each([&](double v) { sum += v; });
    const double mean = sum / count;
    each([&](double v) { squares += (v - mean) * (v - mean); });
    m.mean.push_back(mean), m.biased.push_back(squares / count),
        m.unbiased.push_back(count > 1 ? squares / (count - 1) : squares);
  }
  return m;
}

Moments run(const std::vector<float>& nchw, int64_t samples, const ImageShape& shape, Layout layout, int threads) {
  Activation z(samples, shape, layout, nchw);
  const auto c = static_cast<size_t>(shape.channels);
  Moments m{std::vector<double>(c, -7), std::vector<double>(c, -7), std::vector<double>(c, -7)};
  Guarded<std::byte> workspace(batch_moments_workspace_bytes(z.shape.channels, threads));
  batch_moments(z.view(), {m.mean.data(), m.biased.data(), m.unbiased.data()}, workspace.data(), threads);
  EXPECT_TRUE(workspace.guards_intact() && z.memory.guards_intact());
  return m;
}

/// Mean: f32 sums of 16 differences a chain, joined and divided: 18 u of the deviation. Variance: 20 u (batch_moments.h).
void expect_close(const Moments& got, const Moments& want) {
  for (size_t c = 0; c < want.mean.size(); ++c) {
    const double deviation = std::sqrt(want.biased[c]);
    EXPECT_TRUE(std::fabs(got.mean[c] - want.mean[c]) <= 18 * kU * deviation + 0x1p-50 * std::fabs(want.mean[c]))
        << c << " " << got.mean[c] - want.mean[c];
    EXPECT_TRUE(std::fabs(got.biased[c] - want.biased[c]) <= 20 * kU * want.biased[c])
        << c << " " << got.biased[c] << " " << want.biased[c];
    EXPECT_TRUE(std::fabs(got.unbiased[c] - want.unbiased[c]) <= 20 * kU * want.unbiased[c]) << c;
  }
}

TEST(BatchMoments, MatchTwoPassesInDouble) {
  for_each_target([] {
    uint64_t seed = 0;
    for_each_case([&](int64_t samples, const ImageShape& shape, Layout layout) {
      if (shape.elements() > 30000 && samples > 1) return;
      SCOPED_TRACE(to_text(samples, shape, layout));
      const auto values =
          random_values(static_cast<size_t>(samples * shape.elements()), ++seed, shape.channels, shape.positions());
      expect_close(run(values, samples, shape, layout, 1 + static_cast<int>(seed % 2)), two_pass(values, samples, shape));
    });
  });
}

TEST(BatchMoments, MeanFarAboveDeviation) {
  for_each_target([] {
    const ImageShape shape{19, 40, 33};
    for (const auto& [mean, step] : {std::pair<float, float>{1000.0F, 0.125F}, {1e6F, 0.0625F}}) {  // 0.0625: one ulp of 1e6
      std::vector<float> values = random_values(static_cast<size_t>(2 * shape.elements()), 4);
      for (float& v : values) v = mean + (v < 0 ? 0.0F : step);
      for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
        for (const int threads : {1, 2}) expect_close(run(values, 2, shape, layout, threads), two_pass(values, 2, shape));
      }
    }
  });
}

TEST(BatchMoments, AFirstValueFarFromTheOthersCostsNothing) {  // it is the shift of its block
  const ImageShape shape{17, 31, 1};
  std::vector<float> values = random_values(static_cast<size_t>(shape.elements()), 4);
  for (int64_t c = 0; c < 17; ++c) values[static_cast<size_t>(c * 31)] = 5000.0F;
  for_each_target([&] { expect_close(run(values, 1, shape, Layout::kNChw16c, 1), two_pass(values, 1, shape)); });
}

TEST(BatchMoments, EveryConstantHasNoVariance) {  // sums of 0.1 or 1000.1 round: only differences from a value are exactly 0
  const ImageShape shape{40, 9, 7};
  std::vector<float> values;
  for (int64_t i = 0; i < 2 * 40; ++i)
    values.insert(values.end(), 63, 0.1F * static_cast<float>(i % 40) + (i % 2 == 0 ? 1000.1F : 0.0F));
  for_each_target([&] {
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      EXPECT_EQ(run(values, 2, shape, layout, 2).biased, std::vector<double>(40, 0.0)) << name_of(layout);
    }
  });
}

TEST(BatchMoments, ConstantChannelsHaveNoVarianceAndKeepTheirOldStatistics) {
  const ImageShape shape{18, 13, 11};
  std::vector<float> values = random_values(static_cast<size_t>(3 * shape.elements()), 4);
  for (int64_t n = 0; n < 3; ++n) {
    for (int64_t p = 0; p < 143; ++p) values[static_cast<size_t>((n * 18 + 5) * 143 + p)] = 0.1F;
  }
  for_each_target([&] {
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      Moments m = run(values, 3, shape, layout, 2);
      EXPECT_EQ(m.biased[5], 0.0);
      EXPECT_EQ(m.mean[5], static_cast<double>(0.1F));
      std::vector<double> old_mean(18, 3.0), old_variance(18, 4.0);
      std::vector<float> gamma(18, 2.0F), beta(18, 1.0F), scale(18), shift(18);
      const double mean4 = m.mean[4], variance4 = m.biased[4];
      std::vector<double> mean_total(18, 10.0), variance_total(18, 20.0);
      normalise_by_moments({18, m.mean.data(), m.biased.data(), m.unbiased.data(), old_mean.data(), old_variance.data(),
                            gamma.data(), beta.data(), 1e-5, scale.data(), shift.data(), mean_total.data(),
                            variance_total.data()});
      EXPECT_EQ(m.mean[5], 3.0);
      EXPECT_EQ(m.biased[5], 4.0);
      EXPECT_EQ(m.unbiased[5], 4.0);
      EXPECT_EQ(m.mean[4], mean4) << "only the constant channel falls back";
      EXPECT_EQ(mean_total[5], 13.0);
      EXPECT_EQ(variance_total[5], 24.0);
      EXPECT_EQ(mean_total[4], 10.0 + mean4);
      EXPECT_EQ(scale[5], static_cast<float>(2 / std::sqrt(4 + 1e-5)));
      EXPECT_EQ(scale[4], static_cast<float>(2 / std::sqrt(variance4 + 1e-5)));
      EXPECT_EQ(shift[4], static_cast<float>(1 - mean4 * 2 / std::sqrt(variance4 + 1e-5)));
    }
  });
}

TEST(BatchMoments, NanAndInfinityShowInTheirChannelOnly) {
  const ImageShape shape{5, 7, 7};
  std::vector<float> values = random_values(static_cast<size_t>(shape.elements()), 4);
  values[49 + 3] = std::nanf(""), values[49 * 3] = std::numeric_limits<float>::infinity();
  for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw16c}) {
    const Moments m = run(values, 1, shape, layout, 1);
    for (const size_t c : {size_t{1}, size_t{3}}) EXPECT_TRUE(std::isnan(m.mean[c]) && std::isnan(m.biased[c])) << c;
    for (const size_t c : {size_t{0}, size_t{2}, size_t{4}})
      EXPECT_TRUE(std::isfinite(m.mean[c]) && std::isfinite(m.biased[c])) << c;
  }
}

}  // namespace
}  // namespace elek::test
