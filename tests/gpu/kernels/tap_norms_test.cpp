// SPDX-License-Identifier: Apache-2.0
// Tap norms compared with the double reference (squares of im2col columns): integers exactly, random values within the relative
// bound of kernels/cuda/tap_norms.h, 9 * 2^-24 (all terms are >= 0). Every window that ResNets use and unusual ones, over
// several batches.
#include "kernels/cuda/tap_norms.h"

#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

using namespace elek::kernels;        // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

constexpr Window kWindows[] = {{3, 1, 1, 1}, {1, 1, 0, 1}, {3, 2, 1, 1}, {7, 2, 3, 1},
                               {1, 2, 0, 1}, {2, 3, 1, 1}, {5, 1, 2, 1}, {{1, 3}, {2, 1}, {0, 2, 0, 1}, {1, 2}}};

/// Runs each batch in turn over one set of accumulators and returns the norms.
std::vector<double> run(DType dtype, const ImageShape& shape, int64_t pitch, const Window& w, int64_t samples,
                        const std::vector<std::vector<float>>& batches) {
  const TapNormPlan plan = make_tap_norm_plan(shape, w);
  const std::vector<int32_t> host_tables = tap_norm_tables(plan);
  DeviceBuffer tables(host_tables.size() * sizeof(int32_t)), sums(tap_norm_bytes(plan));
  const DeviceBuffer workspace(tap_norm_workspace_bytes(plan, samples));
  tables.upload(host_tables);
  sums.upload(std::vector<double>(sums.size() / 8, 0.0));
  for (const auto& batch : batches) {
    const auto n = static_cast<int64_t>(batch.size()) / shape.elements();
    const DeviceActivation x(dtype, n, shape, pitch, batch);
    launch_tap_norms(x.view(), plan, tables.as<int32_t>(), sums.as<double>(), workspace.as<void>(), workspace.size(), nullptr);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  }
  std::vector<double> norms(static_cast<size_t>(shape.channels * w.kernel.area()), -1.0);
  reduce_tap_norms(plan, sums.download<double>().data(), norms.data());
  return norms;
}

using TapNormCase = KernelCaseTest;

TEST_P(TapNormCase, IntegersAreExactOverTwoBatches) {
  const auto [dtype, channels] = GetParam();
  size_t turn = static_cast<size_t>(channels);
  for (const ImageShape& shape : {ImageShape{channels, 7, 7}, ImageShape{channels, 8, 11}, ImageShape{channels, 1, 1}}) {
    for (int each = 0; each < 2; ++each) {
      const Window w =
          shape.height == 1 ? (each == 0 ? Window{3, 1, 1, 1} : Window{1, 1, 0, 1}) : kWindows[turn++ % std::size(kWindows)];
      SCOPED_TRACE(to_string(shape) + " " + to_string(w));
      const Pitch pitch = turn % 2 == 0 ? Pitch::kDense : Pitch::kPadded;
      const auto full = small_integers(static_cast<size_t>(3 * shape.elements()), turn);
      const auto last = small_integers(static_cast<size_t>(shape.elements()), turn + 100);
      std::vector<float> both(full);
      both.insert(both.end(), last.begin(), last.end());
      const auto got = run(dtype, shape, pitch_of(channels, pitch), w, 3, {full, last});
      const Mismatch m = compare(got, tap_norms(both, 4, shape, w), 0);
      EXPECT_EQ(m.count, 0) << m.message();
    }
  }
}

TEST_P(TapNormCase, RandomValuesAreWithinTheBound) {
  const auto [dtype, channels] = GetParam();
  const ImageShape shape{channels, 9, 6};
  const auto values = random_values(2, shape, dtype, 3);
  for (const Window& w : {Window{3, 1, 1, 1}, Window{3, 2, 1, 1}}) {
    const auto got = run(dtype, shape, pitch_of(channels, Pitch::kPadded), w, 2, {values});
    const Mismatch m = compare(got, tap_norms(values, 2, shape, w), 0, 9 * kU + kWide);
    EXPECT_EQ(m.count, 0) << m.message();
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, TapNormCase, testing::ValuesIn(kernel_cases()), case_name);

using TapNormKernel = KernelTest;

TEST_F(TapNormKernel, EveryWindowOnALargerMap) {
  const ImageShape shape{5, 23, 18};
  const auto values = small_integers(static_cast<size_t>(2 * shape.elements()), 5, 9);
  for (const Window& w : kWindows) {
    const auto got = run(DType::kF32, shape, 5, w, 2, {values});
    const Mismatch m = compare(got, tap_norms(values, 2, shape, w), 0);
    EXPECT_EQ(m.count, 0) << to_string(w) << ": " << m.message();
  }
}

TEST_F(TapNormKernel, NonFiniteAndHugeValuesStayWhereTheyAre) {
  const ImageShape shape{4, 4, 4};
  std::vector<float> x(static_cast<size_t>(shape.elements()), 1.0F);
  x[0] = std::numeric_limits<float>::quiet_NaN();      // channel 0, corner: met by taps with r <= 1, s <= 1 only
  x[16 + 5] = std::numeric_limits<float>::infinity();  // channel 1, inside: met by all
  x[32 + 5] = 0x1p80F;                                 // channel 2: its square overflows f32
  const Window window{3, 1, 1, 1};
  const auto got = run(DType::kF32, shape, 4, window, 1, {x});
  const auto want = tap_norms(x, 1, shape, window);
  const Mismatch m = compare(got, want, 0, 9 * kU + kWide, NonFinite::kSameKind);
  EXPECT_EQ(m.count, 0) << m.message();
  EXPECT_TRUE(std::isnan(got[0]) && !std::isnan(got[8]));  // tap (2, 2) never meets the corner
}

TEST_F(TapNormKernel, RefusesWhatDoesNotFit) {
  EXPECT_THROW((void)make_tap_norm_plan({3, 8, 8}, {17, 1, 1, 1}), ContractError);
  EXPECT_THROW((void)make_tap_norm_plan({3, 8, 8}, {3, 0, 1, 1}), ContractError);
  EXPECT_THROW((void)make_tap_norm_plan({3, 8, 8}, {3, 1, 3, 1}), ContractError);
  EXPECT_THROW((void)make_tap_norm_plan({3, 1, 1}, {3, 1, 0, 1}), ContractError);
  const TapNormPlan plan = make_tap_norm_plan({3, 8, 8}, {3, 1, 1, 1});
  const DeviceBuffer tables(tap_norm_tables(plan).size() * 4), sums(tap_norm_bytes(plan)),
      workspace(tap_norm_workspace_bytes(plan, 1));
  const DeviceActivation good(DType::kF32, 1, {3, 8, 8}, 3), other(DType::kF32, 1, {3, 8, 7}, 3);
  const auto call = [&](const DeviceActivation& x, const int32_t* t, double* a, size_t bytes) {
    launch_tap_norms(x.view(), plan, t, a, workspace.as<void>(), bytes, nullptr);
  };
  EXPECT_THROW(call(other, tables.as<int32_t>(), sums.as<double>(), workspace.size()), ContractError);
  EXPECT_THROW(call(good, nullptr, sums.as<double>(), workspace.size()), ContractError);
  EXPECT_THROW(call(good, tables.as<int32_t>(), nullptr, workspace.size()), ContractError);
  EXPECT_THROW(call(good, tables.as<int32_t>(), sums.as<double>(), workspace.size() - 1), ContractError);
}

}  // namespace
}  // namespace elek::test
