// SPDX-License-Identifier: Apache-2.0
// Tap norms compared with the im2col columns of tests/support (reference.h): exact on integers, otherwise within 10 * 2^-24;
// borders, strides that skip rows, dilation, uneven padding, windows
// larger than the map.
#include "kernels/cpu/tap_norms.h"

#include "tests/kernels/kernel_case.h"
#include "tests/support/reference.h"

namespace elek::test {
namespace {

using elek::kernels::make_tap_norm_plan;
using elek::kernels::TapNormPlan;

const Window kWindows[] = {{3, 1, 1, 1},
                           {3, 2, 1, 1},
                           {1, 1, 0, 1},
                           {1, 2, 0, 1},
                           {7, 2, 3, 1},
                           {5, 3, 4, 1},
                           {2, 2, 1, 1},
                           {3, 1, 0, 1},
                           {3, 1, 2, 2},
                           {3, 2, 3, 3},
                           {{1, 5}, {1, 2}, {0, 2, 0, 1}, {1, 2}},
                           {{3, 2}, {2, 1}, {0, 1, 2, 0}, {2, 3}}};

std::vector<double> run(const std::vector<float>& values, int64_t samples, const ImageShape& shape, Layout layout,
                        const Window& w, int threads, int calls = 1) {
  const TapNormPlan plan = make_tap_norm_plan(shape, w);
  Guarded<double> accumulators(kernels::cpu::tap_norm_bytes(plan, 2) / sizeof(double));
  for (double& each : accumulators.span()) each = 0;
  Activation x(samples, shape, layout, values);
  for (int call = 0; call < calls; ++call) kernels::cpu::tap_norms(x.view(), plan, accumulators.data(), 2, threads);
  Guarded<double> norms(static_cast<size_t>(shape.channels * w.kernel.area()));
  kernels::cpu::reduce_tap_norms(plan, accumulators.data(), 2, norms.data());
  EXPECT_TRUE(accumulators.guards_intact() && norms.guards_intact());
  return {norms.span().begin(), norms.span().end()};
}

TEST(TapNorms, MatchIm2colInEveryShapeLayoutAndTarget) {
  for_each_target([] {
    size_t turn = 0;
    for_each_case([&](int64_t samples, const ImageShape& shape, Layout layout) {
      const Window& w = kWindows[turn++ % std::size(kWindows)];
      if (w.slide(shape).positions() == 0 || shape.elements() * samples > 30000) return;
      SCOPED_TRACE(to_text(samples, shape, layout) + " " + to_string(w));
      const auto count = static_cast<size_t>(samples * shape.elements());
      for (const bool integers : {true, false}) {
        const auto values =
            integers ? small_integers(count, turn) : random_values(count, turn, shape.channels, shape.positions());
        const auto want = test::tap_norms(values, samples, shape, w);
        const Mismatch m = compare(run(values, samples, shape, layout, w, 1 + static_cast<int>(turn % 2)), want, 0,
                                   integers ? 0 : 10 * kU + 0x1p-45);
        EXPECT_EQ(m.count, 0) << m.message();
      }
    });
  });
}

TEST(TapNorms, LargeMapOnTwoThreadsAndSeveralCalls) {
  for (const Window& w : kWindows) {
    const ImageShape shape{33, 28, 30};
    const auto values = small_integers(static_cast<size_t>(2 * shape.elements()), 5);
    auto want = test::tap_norms(values, 2, shape, w);
    for (double& each : want) each *= 3;
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      const Mismatch m = compare(run(values, 2, shape, layout, w, 2, 3), want, 0);
      EXPECT_EQ(m.count, 0) << m.message();
    }
  }
}

TEST(TapNorms, BordersNeverGoNegative) {  // total minus border would: the border holds nearly everything
  const ImageShape shape{1, 9, 9};
  std::vector<float> values(81, 1e-4F);
  for (size_t i = 0; i < 9; ++i) values[i] = 1e4F;
  const auto got = run(values, 1, shape, Layout::kNchw, {3, 1, 1, 1}, 1);
  const auto want = test::tap_norms(values, 1, shape, {3, 1, 1, 1});
  const Mismatch m = compare(got, want, 0, 10 * kU + 0x1p-45);
  EXPECT_EQ(m.count, 0) << m.message();
  for (const double each : got) EXPECT_GT(each, 0);
}

TEST(TapNorms, NanReachesOnlyTheTapsThatMeetIt) {
  std::vector<float> values(25, 1.0F);
  values[0] = std::nanf("");  // the corner: taps (2, .) and (., 2) never meet it at stride 1, padding 1
  const auto got = run(values, 1, {1, 5, 5}, Layout::kNChw16c, {3, 1, 1, 1}, 1);
  for (size_t tap = 0; tap < 9; ++tap) EXPECT_EQ(std::isnan(got[tap]), tap / 3 < 2 && tap % 3 < 2) << tap;
}

TEST(TapNorms, RefusesWhatDoesNotFit) {
  EXPECT_THROW((void)make_tap_norm_plan({4, 2, 2}, {3, 1, 0, 1}), ContractError);
  EXPECT_THROW((void)make_tap_norm_plan({4, 2, 2}, {3, 0, 1, 1}), ContractError);
  EXPECT_THROW((void)make_tap_norm_plan({4, 2, 2}, {17, 1, 16, 1}), ContractError);
  const TapNormPlan plan = make_tap_norm_plan({4, 2, 2}, {1, 1, 0, 1});
  Activation x(1, {4, 2, 3}, Layout::kNchw, std::vector<float>(24));
  double accumulators[64] = {};
  EXPECT_THROW(kernels::cpu::tap_norms(x.view(), plan, accumulators, 1, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
