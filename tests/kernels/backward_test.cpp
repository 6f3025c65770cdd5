// SPDX-License-Identifier: Apache-2.0
// Gradients of operators without weights. An operator y = A x that is linear has the gradient dx = A^T g, so <g, A x> = <A^T g,
// x> for every x and g; with small integers both sides are exact. A x comes from the forward kernels, whose tests compare them
// with their definitions. Activations and max pool, which are not linear, are compared with their derivatives in double.
#include "kernels/cpu/backward.h"

#include <functional>
#include <string>
#include <vector>

#include "kernels/cpu/channel_map.h"
#include "kernels/cpu/channel_scale.h"
#include "kernels/cpu/grouped_conv.h"
#include "kernels/cpu/pool.h"
#include "tests/kernels/kernel_case.h"
#include "tests/support/activation.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file
using Tensor4 = elek::test::Activation;
using Function = elek::Activation;

constexpr Layout kLayouts[] = {Layout::kNChw8c, Layout::kNChw16c};
constexpr int64_t kSamples = 3;

Values values(const Tensor4& t) { return {t.memory.data(), t.samples, t.shape, t.layout, t.pitch}; }

double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

using Forward = std::function<void(Tensor4& x, Tensor4& y)>;
using Backward = std::function<void(const Tensor4& g, Tensor4& dx, bool add)>;

/// The adjoint of the operator, with and without `add`, for several draws.
void expect_adjoint(const ImageShape& in, const ImageShape& out, Layout layout, const Forward& forward,
                    const Backward& backward, double rounding = 0) {
  const auto count = [](const ImageShape& s) { return static_cast<size_t>(kSamples * s.elements()); };
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const auto x_values = small_integers(count(in), seed), g_values = small_integers(count(out), seed + 100);
    Tensor4 x(kSamples, in, layout, x_values), y(kSamples, out, layout), g(kSamples, out, layout, g_values);
    Tensor4 dx(kSamples, in, layout), sum(kSamples, in, layout, x_values);
    forward(x, y);
    backward(g, dx, false);
    backward(g, sum, true);
    EXPECT_NEAR(dot(g_values, y.nchw()), dot(dx.nchw(), x_values), rounding * static_cast<double>(g_values.size()))
        << to_text(kSamples, in, layout);
    EXPECT_TRUE(dx.memory.guards_intact() && sum.memory.guards_intact());
    EXPECT_EQ(dx.dirty_padding(), 0);
    const auto alone = dx.nchw(), added = sum.nchw();
    for (size_t i = 0; i < alone.size(); ++i)
      ASSERT_NEAR(added[i], alone[i] + x_values[i], rounding) << to_text(kSamples, in, layout);
  }
}

TEST(Backward, OfAPoolIsTheAdjoint) {
  const PoolWindow windows[] = {{2, 2, 0},
                                {2, 1, 1},
                                {4, 3, 2},
                                {1, 2, 0},
                                {{1, 3}, {2, 1}, {0, 1, 0, 1}},
                                {2, 2, 1, Rounding::kUp},
                                {2, 2, 0, Rounding::kUp, false},
                                {{4, 2}, 2, {1, 1, 0, 0}, Rounding::kDown, false}};
  for (const Layout layout : kLayouts)
    for (const PoolWindow& window : windows) {
      const ImageShape in{11, 9, 7};
      ImageShape out = Window{window.kernel, window.stride, window.padding, 1}.slide(in, window.rounding);
      out.channels = 11;
      // divisors of powers of two keep the sums exact; others are compared with their rounding
      expect_adjoint(
          in, out, layout, [&](Tensor4& x, Tensor4& y) { avg_pool(x.view(), y.view(), window, nullptr, 2); },
          [&](const Tensor4& g, Tensor4& dx, bool add) { avg_pool_backward(values(g), dx.view(), window, add, 2); }, 1e-5);
    }
  for (const Layout layout : kLayouts) {
    expect_adjoint(
        {21, 4, 8}, {21, 1, 1}, layout, [](Tensor4& x, Tensor4& y) { global_avg_pool(x.view(), y.view(), nullptr, 2); },
        [](const Tensor4& g, Tensor4& dx, bool add) { global_avg_pool_backward(values(g), dx.view(), add, 2); });
  }
}

TEST(Backward, OfAChannelMapIsTheAdjoint) {
  const std::vector<int32_t> source = {-1, 3, 0, 6, 3, -1, 2, 1, 5};  // one channel twice, one never
  for (const Layout layout : kLayouts)
    for (const int64_t stride : {1, 2, 3}) {
      expect_adjoint(
          {7, 5, 6}, {9, (5 + stride - 1) / stride, (6 + stride - 1) / stride}, layout,
          [&](Tensor4& x, Tensor4& y) { channel_map(x.view(), source, stride, y.view(), nullptr, 2); },
          [&](const Tensor4& g, Tensor4& dx, bool add) { channel_map_backward(values(g), source, stride, dx.view(), add, 2); });
    }
}

TEST(Backward, OfAConcatenationIsTheAdjointInEachInput) {
  for (const Layout layout : kLayouts)
    for (const int64_t first : {0, 5, 8, 13}) {
      const ImageShape part{11, 3, 2}, whole{24, 3, 2};
      expect_adjoint(
          part, whole, layout,
          [&](Tensor4& x, Tensor4& y) {
            for (float& each : y.memory.span()) each = 0;
            for (int64_t n = 0; n < kSamples; ++n)
              for (int64_t c = 0; c < 11; ++c)
                for (int64_t p = 0; p < 6; ++p) y.at(n, first + c, p) = x.at(n, c, p);
          },
          [&](const Tensor4& g, Tensor4& dx, bool add) { concat_part_backward(values(g), first, dx.view(), add, 2); });
    }
}

TEST(Backward, OfAChannelScaleIsTheAdjointInEachInput) {
  for (const Layout layout : kLayouts) {
    const ImageShape image{19, 3, 5}, factors{19, 1, 1};
    const auto fixed_s = small_integers(static_cast<size_t>(kSamples * 19), 71);
    const auto fixed_x = small_integers(static_cast<size_t>(kSamples * image.elements()), 72);
    Tensor4 s(kSamples, factors, layout, fixed_s), x(kSamples, image, layout, fixed_x);
    expect_adjoint(
        image, image, layout, [&](Tensor4& in, Tensor4& y) { channel_scale(in.view(), s.view(), y.view(), nullptr, 2); },
        [&](const Tensor4& g, Tensor4& dx, bool add) { channel_scale_backward_x(values(g), values(s), dx.view(), add, 2); });
    expect_adjoint(
        factors, image, layout, [&](Tensor4& in, Tensor4& y) { channel_scale(x.view(), in.view(), y.view(), nullptr, 2); },
        [&](const Tensor4& g, Tensor4& ds, bool add) { channel_scale_backward_s(values(g), values(x), ds.view(), add, 2); });
  }
}

TEST(Backward, OfCopiesScalesAndFlatteningIsTheAdjoint) {
  const std::vector<float> scale = small_integers(13, 9);
  for (const Layout layout : kLayouts) {
    const ImageShape image{13, 3, 4};
    expect_adjoint(
        image, image, layout, [](Tensor4& x, Tensor4& y) { copy_gradient(values(x), y.view(), false, 2); },
        [](const Tensor4& g, Tensor4& dx, bool add) { copy_gradient(values(g), dx.view(), add, 2); });
    expect_adjoint(
        image, image, layout,
        [&](Tensor4& x, Tensor4& y) {
          for (float& each : y.memory.span()) each = 0;
          for (int64_t n = 0; n < kSamples; ++n)
            for (int64_t c = 0; c < 13; ++c)
              for (int64_t p = 0; p < 12; ++p) y.at(n, c, p) = scale[static_cast<size_t>(c)] * x.at(n, c, p);
        },
        [&](const Tensor4& g, Tensor4& dx, bool add) { scale_backward(values(g), scale.data(), dx.view(), add, 2); });
    expect_adjoint(
        image, {13 * 12, 1, 1}, layout, [](Tensor4& x, Tensor4& y) { flatten(values(x), y.view(), 2); },
        [](const Tensor4& g, Tensor4& dx, bool add) { flatten_backward(values(g), dx.view(), add, 2); });
    Tensor4 flat(kSamples, {13 * 12, 1, 1}, layout), x(kSamples, image, layout, small_integers(kSamples * 13 * 12, 3));
    flatten(values(x), flat.view(), 2);
    EXPECT_EQ(flat.nchw(), x.nchw()) << "channel, row, column";
  }
}

TEST(Backward, SpreadPutsZerosBetween) {
  for (const Layout layout : kLayouts) {
    const auto numbers = small_integers(kSamples * 9 * 6, 4);
    Tensor4 g(kSamples, {9, 2, 3}, layout, numbers), to(kSamples, {9, 4, 8}, layout);
    spread(values(g), 3, to.view(), 2);
    for (int64_t n = 0; n < kSamples; ++n)
      for (int64_t c = 0; c < 9; ++c)
        for (int64_t h = 0; h < 4; ++h)
          for (int64_t w = 0; w < 8; ++w) {
            const float want = h % 3 == 0 && w % 3 == 0 ? g.at(n, c, h / 3 * 3 + w / 3) : 0.0F;
            ASSERT_EQ(to.at(n, c, h * 8 + w), want);
          }
    EXPECT_EQ(to.dirty_padding(), 0);
  }
}

/// The windows do not overlap in their largest values here, so the gradient of each window is one number.
TEST(Backward, OfMaxPoolGoesToTheFirstLargestValue) {
  for (const Layout layout : kLayouts) {
    // two channels of 2x4, windows of 2x2: ties in the first, a NaN in the second
    const float nan = std::numeric_limits<float>::quiet_NaN();
    Tensor4 x(1, {2, 2, 4}, layout, {1, 5, 2, 2, 5, 5, 2, 1, -1, nan, 7, 3, -2, 9, 4, 8});
    Tensor4 g(1, {2, 1, 2}, layout, {10, 20, 30, 40}), dx(1, {2, 2, 4}, layout);
    max_pool_backward(values(x), values(g), dx.view(), {2, 2, 0}, false, 2);
    EXPECT_EQ(dx.nchw(), (std::vector<float>{0, 10, 20, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 0, 0, 40})) << name_of(layout);
    max_pool_backward(values(x), values(g), dx.view(), {2, 2, 0}, true, 2);
    EXPECT_EQ(dx.nchw()[1], 20);
    EXPECT_EQ(dx.dirty_padding(), 0);
  }
}

TEST(Backward, OfOverlappingMaxPoolsAddsUp) {
  Tensor4 x(1, {1, 3, 3}, Layout::kNChw8c, {0, 0, 0, 0, 9, 0, 0, 0, 0}), g(1, {1, 2, 2}, Layout::kNChw8c, {1, 2, 4, 8});
  Tensor4 dx(1, {1, 3, 3}, Layout::kNChw8c);
  max_pool_backward(values(x), values(g), dx.view(), {2, 1, 0}, false, 1);
  EXPECT_EQ(dx.nchw(), (std::vector<float>{0, 0, 0, 0, 15, 0, 0, 0, 0}));
}

/// The slope of the function in double, between two points close to v.
double slope(const Function& f, double v) {
  constexpr double kStep = 1e-6;
  return (reference_activation(f, v + kStep) - reference_activation(f, v - kStep)) / (2 * kStep);
}

TEST(Backward, OfAnActivationIsItsDerivative) {
  std::vector<float> points;
  for (float v = -5.05F; v < 8; v += 0.1F) points.push_back(v);  // away from the kinks at -3, 0, 3 and 6
  const auto count = static_cast<int64_t>(points.size());
  Function clip{Function::Kind::kClip, 0, 6}, leaky{Function::Kind::kLeakyRelu, 0, 0, 0.125F}, rising = leaky;
  rising.slope = -0.5F;
  for (const Function& f : {Function::kNone, Function::kRelu, clip, leaky, rising, Function{Function::Kind::kSigmoid},
                            Function{Function::Kind::kHardSwish}, Function{Function::Kind::kSilu}}) {
    for (const Layout layout : kLayouts) {
      std::vector<float> given;
      for (const float v : points) {
        given.push_back(derivative_from_output(f) ? static_cast<float>(reference_activation(f, double{v})) : v);
      }
      Tensor4 value(1, {count, 1, 1}, layout, given), g(1, {count, 1, 1}, layout, std::vector<float>(points.size(), 2.0F));
      activation_backward(f, values(value), g.view(), 2);
      for (int64_t c = 0; c < count; ++c) {
        const double want = 2 * slope(f, double{points[static_cast<size_t>(c)]});
        // the slope's own error (1e-6 for curved functions), and for sigmoid y(1-y) from a rounded y near 1
        ASSERT_NEAR(g.at(0, c, 0), want, 2e-6) << name_of(f.kind) << " at " << points[static_cast<size_t>(c)];
      }
    }
  }
}

TEST(GroupedConv, IsItsDefinitionAndItsGradientsAreTheAdjoints) {
  struct Case {
    int64_t channels, out_channels, groups;
    Window window;
  };
  const Case cases[] = {{21, 21, 21, {3, 1, 1, 1}},
                        {21, 21, 21, {3, 2, 1, 1}},
                        {12, 18, 3, {3, 2, 0, 1}},
                        {4, 6, 1, {5, 1, 3, 1}},
                        {8, 16, 8, {1, 1, 0, 1}},
                        {9, 9, 9, {{3, 2}, {1, 2}, {2, 0, 0, 1}, {2, 1}}},
                        {6, 4, 2, {{1, 3}, 2, {0, 2, 1, 2}, {1, 2}}}};
  for (const Layout layout : kLayouts)
    for (const Case& c : cases) {
      const GroupedConv conv{c.groups, c.window};
      const ImageShape in{c.channels, 6, 7};
      ImageShape out = c.window.slide(in);
      out.channels = c.out_channels;
      const int64_t each = c.channels / c.groups, taps = c.window.kernel.area();
      const auto w = small_integers(static_cast<size_t>(c.out_channels * each * taps), 31);
      const auto bias = small_integers(static_cast<size_t>(c.out_channels), 32);
      // the definition
      const auto xs = small_integers(static_cast<size_t>(kSamples * in.elements()), 33);
      Tensor4 x(kSamples, in, layout, xs), y(kSamples, out, layout);
      grouped_conv(conv, values(x), w.data(), bias.data(), y.view(), 2);
      EXPECT_EQ(y.dirty_padding(), 0);
      for (int64_t n = 0; n < kSamples; ++n)
        for (int64_t k = 0; k < c.out_channels; ++k)
          for (int64_t p = 0; p < out.positions(); ++p) {
            float want = bias[static_cast<size_t>(k)];
            for (int64_t i = 0; i < each; ++i)
              for (int64_t t = 0; t < taps; ++t) {
                const Window& v = c.window;
                const int64_t h = p / out.width * v.stride.height - v.padding.top + t / v.kernel.width * v.dilation.height;
                const int64_t wide = p % out.width * v.stride.width - v.padding.left + t % v.kernel.width * v.dilation.width;
                if (h < 0 || wide < 0 || h >= 6 || wide >= 7) continue;
                want += w[static_cast<size_t>((k * each + i) * taps + t)] *
                        x.at(n, k / (c.out_channels / c.groups) * each + i, h * 7 + wide);
              }
            ASSERT_EQ(y.at(n, k, p), want) << "groups " << c.groups << " " << name_of(layout);
          }
      // linear in x, and linear in w
      expect_adjoint(
          in, out, layout,
          [&](Tensor4& from, Tensor4& to) { grouped_conv(conv, values(from), w.data(), nullptr, to.view(), 2); },
          [&](const Tensor4& g, Tensor4& dx, bool add) {
            grouped_input_gradient(conv, values(g), w.data(), dx.view(), add, 2);
          });
      const auto gs = small_integers(static_cast<size_t>(kSamples * out.elements()), 34);
      Tensor4 g(kSamples, out, layout, gs), linear(kSamples, out, layout);
      std::vector<float> dw(w.size());
      grouped_weight_gradient(conv, values(x), values(g), dw.data(), false, 2);
      grouped_conv(conv, values(x), w.data(), nullptr, linear.view(), 2);
      EXPECT_EQ(dot(gs, linear.nchw()), dot(dw, w)) << "groups " << c.groups;
    }
}

TEST(Backward, RefusesOtherLayouts) {
  Tensor4 g(1, {8, 1, 1}, Layout::kNhwc), dx(1, {8, 2, 2}, Layout::kNhwc);
  EXPECT_THROW(global_avg_pool_backward(values(g), dx.view(), false, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
