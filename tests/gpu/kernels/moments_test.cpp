// SPDX-License-Identifier: Apache-2.0
// Batch moments and normalisation compared with a two-pass computation in double: within the bound of
// kernels/cuda/batch_moments.h, even if the mean is a thousand times the deviation. A constant channel has variance 0 exactly
// and keeps the old statistics.
#include "kernels/cuda/batch_moments.h"
#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

using namespace elek::kernels;        // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

struct Moments {
  std::vector<double> mean, biased, unbiased, spread;  // spread: mean |x - mean| + |mean| * 2^-24, for tolerances
};

Moments reference(const std::vector<float>& x, int64_t samples, const ImageShape& shape) {
  Moments m;
  const auto positions = static_cast<size_t>(shape.positions()), channels = static_cast<size_t>(shape.channels);
  const double n = static_cast<double>(samples) * static_cast<double>(positions);
  for (size_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0, around = 0;
    const auto each = [&](auto f) {
      for (size_t i = 0; i < static_cast<size_t>(samples); ++i) {
        for (size_t p = 0; p < positions; ++p) f(static_cast<double>(x[(i * channels + c) * positions + p]));
      }
    };
    each([&](double v) { sum += v; });
    const double mean = sum / n;
    each([&](double v) { squares += (v - mean) * (v - mean), around += std::fabs(v - mean); });
    m.mean.push_back(mean);
    m.biased.push_back(squares / n);
    m.unbiased.push_back(n > 1 ? squares / (n - 1) : squares);
    m.spread.push_back(around / n);
  }
  return m;
}

struct MomentRun {
  DeviceBuffer mean, biased, unbiased;
  explicit MomentRun(int64_t channels)
      : mean(static_cast<size_t>(channels) * 8),
        biased(static_cast<size_t>(channels) * 8),
        unbiased(static_cast<size_t>(channels) * 8) {}
  void operator()(const DeviceActivation& z) {
    const DeviceBuffer workspace(batch_moments_workspace_bytes(z.samples, z.shape));
    launch_batch_moments(z.view(), {mean.as<double>(), biased.as<double>(), unbiased.as<double>()}, workspace.as<void>(),
                         workspace.size(), nullptr);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
};

/// Rounding of a block: differences are rounded once to f32 (2^-24 of |x - first| + |x - mean|), the mean once (its rest is
/// kept).
void expect_moments(MomentRun& got, const Moments& want, const std::string& what) {
  const auto mean = got.mean.download<double>(), biased = got.biased.download<double>(),
             unbiased = got.unbiased.download<double>();
  for (size_t c = 0; c < want.mean.size(); ++c) {
    const double deviation = std::sqrt(want.biased[c]);
    const double mean_tolerance = 16 * kU * (want.spread[c] + deviation);
    EXPECT_TRUE(std::fabs(mean[c] - want.mean[c]) <= mean_tolerance + 1e-12 * std::fabs(want.mean[c]))
        << what << " mean[" << c << "] got " << mean[c] << ", want " << want.mean[c] << " +- " << mean_tolerance;
    EXPECT_TRUE(std::fabs(biased[c] - want.biased[c]) <= 16 * kU * want.biased[c])
        << what << " biased[" << c << "] got " << biased[c] << ", want " << want.biased[c];
    EXPECT_TRUE(std::fabs(unbiased[c] - want.unbiased[c]) <= 16 * kU * want.unbiased[c])
        << what << " unbiased[" << c << "] got " << unbiased[c] << ", want " << want.unbiased[c];
  }
}

using MomentCase = KernelCaseTest;

TEST_P(MomentCase, RandomValuesAreWithinTheBound) {
  const auto [dtype, channels] = GetParam();
  size_t turn = static_cast<size_t>(channels);
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 7}, {13, 11}}) {
    for (const int64_t samples : {1, 3}) {
      const ImageShape shape{channels, h, w};
      const auto values = random_values(samples, shape, dtype, ++turn);
      const DeviceActivation z(dtype, samples, shape, pitch_of(channels, turn % 2 == 0 ? Pitch::kDense : Pitch::kPadded),
                               values);
      MomentRun run(channels);
      run(z);
      expect_moments(run, reference(values, samples, shape), to_string(shape) + " x " + std::to_string(samples));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, MomentCase, testing::ValuesIn(kernel_cases()), case_name);

using MomentKernel = KernelTest;

TEST_F(MomentKernel, AMeanFarAboveTheDeviationCostsNothing) {
  const ImageShape shape{12, 19, 23};
  auto values = random_values(4, shape, DType::kF32, 1);
  for (float& v : values) v += 1000.0F;
  const DeviceActivation z(DType::kF32, 4, shape, 12, values);
  MomentRun run(12);
  run(z);
  expect_moments(run, reference(values, 4, shape), "offset 1000");
}

TEST_F(MomentKernel, OneOutlierDoesNotSpoilTheRest) {  // the first value a thread sees is the far one
  const ImageShape shape{4, 16, 16};
  auto values = random_values(1, shape, DType::kF32, 2);
  for (size_t c = 0; c < 4; ++c) values[c * 256] = 1e4F;
  const DeviceActivation z(DType::kF32, 1, shape, 4, values);
  MomentRun run(4);
  run(z);
  expect_moments(run, reference(values, 1, shape), "outlier");
}

TEST_F(MomentKernel, AConstantHasVarianceZeroAndNanStays) {
  const ImageShape shape{3, 9, 9};
  std::vector<float> values(static_cast<size_t>(2 * shape.elements()), 0.1F);
  for (size_t p = 0; p < 81; ++p) values[2 * 81 + p] = static_cast<float>(p);
  values[81 + 40] = std::numeric_limits<float>::quiet_NaN();
  const DeviceActivation z(DType::kF32, 2, shape, 3, values);
  MomentRun run(3);
  run(z);
  EXPECT_EQ(run.mean.download<double>()[0], static_cast<double>(0.1F));
  EXPECT_EQ(run.biased.download<double>()[0], 0.0);
  EXPECT_TRUE(std::isnan(run.mean.download<double>()[1]) && std::isnan(run.biased.download<double>()[1]) &&
              std::isnan(run.unbiased.download<double>()[1]));
  EXPECT_GT(run.biased.download<double>()[2], 0.0);
}

TEST_F(MomentKernel, EveryConstantHasVarianceZero) {  // sums of 2 … 8 equal values round; differences from the first do not
  const ImageShape shape{64, 15, 17};
  std::vector<float> values;
  Random random(21);
  for (int64_t c = 0; c < shape.channels; ++c) {
    values.insert(values.end(), static_cast<size_t>(shape.positions()), static_cast<float>(random.normal()));
  }
  const DeviceActivation z(DType::kF32, 1, shape, 64, values);
  MomentRun run(64);
  run(z);
  EXPECT_EQ(run.biased.download<double>(), std::vector<double>(64, 0.0));
}

template <typename T>
struct Filled : DeviceBuffer {
  explicit Filled(const std::vector<T>& values) : DeviceBuffer(values.size() * sizeof(T)) { upload(values); }
  [[nodiscard]] std::vector<T> read() const { return download<T>(); }
};

TEST_F(MomentKernel, NormalisationFollowsTheMomentsAndFallsBack) {
  for (const bool affine : {true, false}) {
    Filled<double> mean({1, 2, 3}), variance({4, 0, 0.25}), unbiased({5, 0, 0.5}), old_mean({-1, -2, -3}),
        old_variance({9, 16, 25});
    Filled<double> mean_total({10, 10, 10}), variance_total({20, 20, 20});
    Filled<float> gamma({2, 3, 4}), beta({0.5F, 0.25F, 0.125F}), scale({0, 0, 0}), shift({0, 0, 0});
    Normalisation n;
    n.channels = 3, n.mean = mean.as<double>(), n.variance = variance.as<double>(), n.variance_unbiased = unbiased.as<double>();
    n.old_mean = old_mean.as<double>(), n.old_variance = old_variance.as<double>(), n.eps = 1e-5;
    n.gamma = affine ? gamma.as<float>() : nullptr, n.beta = affine ? beta.as<float>() : nullptr;
    n.scale = scale.as<float>(), n.shift = shift.as<float>();
    n.mean_total = mean_total.as<double>(), n.variance_total = variance_total.as<double>();
    launch_normalisation(n, nullptr);
    EXPECT_EQ(mean.read(), (std::vector<double>{1, -2, 3}));
    EXPECT_EQ(variance.read(), (std::vector<double>{4, 16, 0.25}));
    EXPECT_EQ(unbiased.read(), (std::vector<double>{5, 16, 0.5}));
    EXPECT_EQ(mean_total.read(), (std::vector<double>{11, 8, 13}));
    EXPECT_EQ(variance_total.read(), (std::vector<double>{25, 36, 20.5}));
    const double used_mean[] = {1, -2, 3}, used_variance[] = {4, 16, 0.25}, g[] = {2, 3, 4}, b[] = {0.5, 0.25, 0.125};
    for (size_t c = 0; c < 3; ++c) {
      const double s = (affine ? g[c] : 1.0) / std::sqrt(used_variance[c] + 1e-5);
      const double t = (affine ? b[c] : 0.0) - used_mean[c] * s;
      EXPECT_NEAR(static_cast<double>(scale.read()[c]), s, 1.01 * kU * std::fabs(s));
      EXPECT_NEAR(static_cast<double>(shift.read()[c]), t, 1.01 * kU * std::fabs(t));
    }
  }
}

TEST_F(MomentKernel, RefusesWhatDoesNotFit) {
  const ImageShape shape{3, 4, 4};
  const DeviceActivation z(DType::kF32, 1, shape, 3);
  const DeviceBuffer out(24), workspace(batch_moments_workspace_bytes(1, shape));
  const MomentArrays wanted{out.as<double>(), nullptr, nullptr};
  EXPECT_THROW(launch_batch_moments(z.view(), {}, workspace.as<void>(), workspace.size(), nullptr), ContractError);
  EXPECT_THROW(launch_batch_moments(z.view(), wanted, nullptr, workspace.size(), nullptr), ContractError);
  EXPECT_THROW(launch_batch_moments(z.view(), wanted, workspace.as<void>(), workspace.size() - 8, nullptr), ContractError);
  EXPECT_THROW(launch_normalisation({}, nullptr), ContractError);
}

}  // namespace
}  // namespace elek::test
