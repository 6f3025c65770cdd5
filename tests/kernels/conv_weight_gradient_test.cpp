// SPDX-License-Identifier: Apache-2.0
// The weight gradient compared with its definition in double: every instruction set of this machine, both blocked layouts,
// kernels 1, 3 and 7, strides, paddings, odd channels and map sizes, one to three threads, fewer samples than planned.
#include "kernels/cpu/conv_weight_gradient.h"

#include <string>
#include <vector>

#include "kernels/cpu/vectors.h"
#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

struct Case {
  int64_t samples, channels, out_channels, height, width;
  Window window;
  [[nodiscard]] ImageShape in() const { return {channels, height, width}; }
  [[nodiscard]] ImageShape out() const {
    ImageShape slid = window.slide(in());
    slid.channels = out_channels;
    return slid;
  }
};
constexpr Case kCases[] = {
    {1, 1, 1, 1, 1, {1, 1, 0, 1}},
    {2, 7, 37, 5, 9, {1, 1, 0, 1}},
    {3, 64, 16, 7, 7, {1, 1, 0, 1}},
    {2, 33, 45, 9, 7, {1, 2, 0, 1}},
    {2, 20, 33, 8, 9, {3, 2, 1, 1}},
    {1, 3, 17, 15, 14, {7, 2, 3, 1}},
    {1, 5, 8, 6, 6, {3, 1, 2, 1}},
    {40, 16, 50, 12, 5, {3, 1, 1, 1}},
    {2, 9, 24, 4, 4, {3, 3, 0, 1}},
    {3, 130, 100, 3, 2, {3, 1, 1, 1}},
    {1, 4, 4, 1, 1, {3, 1, 1, 1}},
    {2, 3, 5, 2, 2, {5, 1, 3, 1}},
    {2, 11, 19, 9, 8, {{1, 3}, {2, 1}, {0, 1, 0, 1}, 1}},
    {2, 6, 10, 9, 9, {3, 1, 2, 2}},
    {1, 9, 4, 10, 11, {{3, 2}, 2, {1, 0, 2, 3}, {2, 3}}},
};

/// dw and the sum of the terms' absolute values, in double.
struct Reference {
  std::vector<double> dw, magnitude;
  Reference(const Case& c, const std::vector<float>& x, const std::vector<float>& g) {
    const ImageShape out = c.out();
    const Window& v = c.window;
    for (int64_t k = 0; k < c.out_channels; ++k)
      for (int64_t ch = 0; ch < c.channels; ++ch)
        for (int64_t r = 0; r < v.kernel.height; ++r)
          for (int64_t s = 0; s < v.kernel.width; ++s) {
            double sum = 0, size = 0;
            for (int64_t n = 0; n < c.samples; ++n)
              for (int64_t p = 0; p < out.height; ++p)
                for (int64_t q = 0; q < out.width; ++q) {
                  const int64_t h = p * v.stride.height - v.padding.top + r * v.dilation.height;
                  const int64_t w = q * v.stride.width - v.padding.left + s * v.dilation.width;
                  if (h < 0 || w < 0 || h >= c.height || w >= c.width) continue;
                  const double term =
                      double{x[static_cast<size_t>(((n * c.channels + ch) * c.height + h) * c.width + w)]} *
                      double{g[static_cast<size_t>(((n * c.out_channels + k) * out.height + p) * out.width + q)]};
                  sum += term, size += std::fabs(term);
                }
            dw.push_back(sum), magnitude.push_back(size);
          }
  }
};

std::vector<float> run(const Case& c, Layout layout, int threads, const std::vector<float>& x, const std::vector<float>& g,
                       int64_t planned) {
  const auto plan = plan_weight_gradient({planned, c.channels, c.out_channels, c.height, c.width, c.window.kernel,
                                          c.window.stride, c.window.padding, layout, threads, c.window.dilation});
  EXPECT_TRUE(plan) << plan.reason();
  Activation input(c.samples, {c.channels, c.height, c.width}, layout, x);
  Activation gradient(c.samples, {c.out_channels, plan.value().out_height, plan.value().out_width}, layout, g);
  Guarded<float> scratch(plan.value().scratch_bytes / sizeof(float));
  Guarded<float> dw(static_cast<size_t>(c.out_channels * c.channels * c.window.kernel.area()));
  const auto values = [](Activation& a) {
    return ActivationView<const float>{a.memory.data(), a.samples, a.shape, a.layout, a.pitch};
  };
  weight_gradient(plan.value(), values(input), values(gradient), scratch.data(), dw.data());
  std::vector<float> added(dw.span().size(), 1.0F);
  weight_gradient(plan.value(), values(input), values(gradient), scratch.data(), added.data(), true);
  for (size_t i = 0; i < added.size(); ++i) EXPECT_EQ(added[i], 1.0F + dw.span()[i]);
  EXPECT_TRUE(scratch.guards_intact() && dw.guards_intact() && input.memory.guards_intact());
  return {dw.span().begin(), dw.span().end()};
}

TEST(ConvWeightGradient, EqualsItsDefinitionWithinTheDerivedBound) {
  for_each_target([] {
    uint64_t seed = 0;
    for (const Case& c : kCases) {
      const ImageShape out = c.out();
      const auto x = random_values(static_cast<size_t>(c.samples * c.channels * c.height * c.width), ++seed);
      const auto g = random_values(static_cast<size_t>(c.samples * out.elements()), ++seed);
      const Reference want(c, x, g);
      for (const Layout layout : {Layout::kNChw8c, Layout::kNChw16c}) {
        const auto one = run(c, layout, 1, x, g, c.samples);
        const double factor = static_cast<double>(c.samples * out.positions() + 1) * kU;
        int64_t bad = 0;
        for (size_t i = 0; i < one.size(); ++i) bad += std::fabs(one[i] - want.dw[i]) <= factor * want.magnitude[i] ? 0 : 1;
        EXPECT_EQ(bad, 0) << "case " << seed / 2 << " " << name_of(layout) << " on " << instruction_set();
        EXPECT_EQ(run(c, layout, 3, x, g, c.samples + 5), one) << "other threads and a larger plan: the same bits";
      }
    }
  });
}

TEST(ConvWeightGradient, TheBiasGetsTheSumOfEachChannel) {
  for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
    const auto values = small_integers(static_cast<size_t>(3 * 21 * 35), 5);
    Activation g(3, {21, 5, 7}, layout, values);
    std::vector<float> got(21), want(21, 0.0F);
    for (size_t i = 0; i < values.size(); ++i) want[i / 35 % 21] += values[i];
    bias_gradient({g.memory.data(), g.samples, g.shape, g.layout, g.pitch}, got.data(), false, 2);
    EXPECT_EQ(got, want) << name_of(layout);
    bias_gradient({g.memory.data(), g.samples, g.shape, g.layout, g.pitch}, got.data(), true, 2);
    for (size_t k = 0; k < want.size(); ++k) EXPECT_EQ(got[k], 2 * want[k]);
  }
}

TEST(ConvWeightGradient, RefusesWhatDoesNotFit) {
  EXPECT_FALSE(plan_weight_gradient({1, 3, 4, 2, 2, 5, 1, 0, Layout::kNChw8c, 1}));
  EXPECT_FALSE(plan_weight_gradient({1, 3, 4, 8, 8, 3, 1, 1, Layout::kNhwc, 1}));
  const auto plan = plan_weight_gradient({1, 3, 4, 8, 8, 3, 1, 1, Layout::kNChw8c, 1});
  Activation x(2, {3, 8, 8}, Layout::kNChw8c), g(2, {4, 8, 8}, Layout::kNChw8c);
  float unused = 0;
  const ActivationView<const float> xv{x.memory.data(), 2, x.shape, x.layout, x.pitch},
      gv{g.memory.data(), 2, g.shape, g.layout, g.pitch};
  EXPECT_THROW(weight_gradient(plan.value(), xv, gv, &unused, &unused), ContractError);  // two samples, planned for one
}

}  // namespace
}  // namespace elek::test
