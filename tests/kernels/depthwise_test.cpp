// SPDX-License-Identifier: Apache-2.0
// depthwise compared with a direct convolution in double whose weights between different channels are zero: every instruction
// set of this machine, both blocked layouts, kernels 1, 3, 5 and 7, strides and paddings, uneven ones too (also windows that
// lie entirely in the padding), odd channels, odd map sizes, one to three threads. The bound is that of an f32 sum in any
// order: |error| <= (kernel^2 + 2) * 2^-24 * (sum |w x| + |b| + |r|).
#include "kernels/cpu/depthwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/vectors.h"
#include "tests/kernels/conv_case.h"

namespace elek::kernels::cpu {
namespace {

using conv_case::Direct;
using conv_case::Floats;
using conv_case::index_of;
using conv_case::Problem;
using conv_case::Shape;
using test::for_each_target;

DepthwiseProblem problem_of(const Shape& c) {
  return {c.samples, c.channels, c.height, c.width, c.kernel, c.stride, c.padding, c.layout, c.threads};
}

/// The problem with filters that read their own channel only.
Problem depthwise(const Shape& c, bool integers, uint64_t seed) {
  Problem p(c, integers, seed);
  const auto taps = static_cast<size_t>(c.kernel.area()), channels = static_cast<size_t>(c.channels);
  for (size_t i = 0; i < p.w.size(); ++i) {
    if (i / taps / channels != i / taps % channels) p.w[i] = 0.0F;
  }
  return p;
}

/// `planned` samples at most, of which the problem's are run.
void run(Problem& p, const ChannelSums* sums = nullptr, int64_t planned = 0,
         elek::Activation activation = elek::Activation::kNone) {
  const Shape& c = p.spec;
  DepthwiseProblem problem = problem_of(c);
  problem.samples = std::max(problem.samples, planned);
  const auto plan = plan_depthwise(problem);
  ASSERT_TRUE(plan) << plan.reason();
  std::vector<float> own;  // [C, 1, kernel, kernel]
  for (int64_t k = 0; k < c.channels; ++k) {
    const float* filter = p.w.data() + (k * c.channels + k) * c.kernel.area();
    own.insert(own.end(), filter, filter + c.kernel.area());
  }
  Floats packed(plan.value().packed_bytes / sizeof(float), conv_case::kNan);
  pack_depthwise_weights(plan.value(), own.data(), packed.data);
  if (c.relu) activation = elek::Activation::kRelu;
  depthwise_conv(plan.value(), {.x = p.x_view(),
                                .packed = packed.data,
                                .bias = p.bias.data,
                                .residual = p.residual_view(),
                                .activation = activation,
                                .y = p.output(),
                                .sums = sums});
}

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c})
    for (const int threads : {1, 2, 3}) {
      all.push_back({1, 1, 1, 1, 1, 1, 1, 0, layout, threads, false, false});
      all.push_back({2, 37, 37, 9, 21, 3, 1, 1, layout, threads, true, true});  // tiles of 8, 4 and 1, both edges
      all.push_back({3, 16, 16, 7, 7, 3, 1, 1, layout, threads, false, true});
      all.push_back({1, 21, 21, 15, 40, 3, 2, 1, layout, threads, true, false});
      all.push_back({2, 9, 9, 11, 13, 5, 1, 2, layout, threads, false, false});
      all.push_back({1, 24, 24, 14, 14, 7, 2, 3, layout, threads, true, true});
      all.push_back({1, 5, 5, 4, 5, 3, 3, 4, layout, threads, false, false});  // some windows are all padding
      all.push_back({1, 7, 7, 3, 3, 3, 1, 0, layout, threads, false, true});   // one output
      all.push_back({2, 19, 19, 9, 24, {3, 5}, {2, 1}, {0, 1, 2, 3}, layout, threads, true, true});  // rectangular, uneven
      all.push_back({1, 8, 8, 8, 30, {5, 2}, {1, 3}, {1, 1, 3, 0}, layout, threads, false, false});
      all.push_back({1, 12, 12, 14, 14, 3, 2, {0, 0, 1, 1}, layout, threads, false, true});  // TensorFlow's padding
    }
  return all;
}

TEST(DepthwiseTest, EqualsTheDirectConvolutionWithinTheDerivedBound) {
  for_each_target([] {
    for (const Shape& c : shapes()) {
      Problem p = depthwise(c, /*integers=*/false, 7);
      run(p);
      const Direct direct(p);
      const double factor = static_cast<double>(c.kernel.area() + 2) * std::ldexp(1.0, -24);
      int64_t bad = 0;
      p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t o) {
        const double got = p.y.data[index_of(p.y_view(), n, k, row, column)];
        if (!(std::fabs(got - direct.y[o]) <= factor * direct.magnitude[o])) ++bad;
      });
      EXPECT_EQ(bad, 0) << conv_case::print(c) << " on " << instruction_set();
      conv_case::expect_zero_padding(p);
    }
  });
}

TEST(DepthwiseTest, IntegersAreExact) {
  for_each_target([] {
    for (const Shape& c : shapes()) {
      Problem p = depthwise(c, /*integers=*/true, 3);
      run(p);
      const Direct direct(p);
      int64_t bad = 0;
      p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t o) {
        if (!(p.y.data[index_of(p.y_view(), n, k, row, column)] == static_cast<float>(direct.y[o]))) ++bad;
      });
      EXPECT_EQ(bad, 0) << conv_case::print(c) << " on " << instruction_set();
    }
  });
}

/// `run` on problems of this test's kind.
template <typename F>
auto on_depthwise(const F& f) {
  return [f](Problem& p, const ChannelSums* sums) {
    const auto taps = static_cast<size_t>(p.spec.kernel.area()), channels = static_cast<size_t>(p.spec.channels);
    for (size_t i = 0; i < p.w.size(); ++i) {
      if (i / taps / channels != i / taps % channels) p.w[i] = 0.0F;
    }
    f(p, sums);
  };
}

TEST(DepthwiseTest, SumsAreThoseOfTheStoredValues) {
  for_each_target(
      [] { conv_case::expect_sums(shapes(), on_depthwise([](Problem& p, const ChannelSums* sums) { run(p, sums); })); });
}

TEST(DepthwiseTest, MomentsAreTakenBeforeResidualAndRelu) {
  conv_case::expect_moments_before_the_rest({2, 37, 37, 5, 9, 3, 1, 1, Layout::kNChw16c, 2, true, true},
                                            on_depthwise([](Problem& p, const ChannelSums* sums) { run(p, sums); }));
}

TEST(DepthwiseTest, NanAndInfinityAreKeptAndCounted) {
  for_each_target([] {
    conv_case::expect_nonfinite_kept_and_counted({1, 37, 37, 9, 9, 3, 1, 1, Layout::kNChw16c, 1, false, true},
                                                 on_depthwise([](Problem& p, const ChannelSums* sums) { run(p, sums); }),
                                                 instruction_set());
  });
}

TEST(DepthwiseTest, ClampsAtBothEnds) {
  const Shape c{1, 21, 21, 9, 21, 3, 1, 1, Layout::kNChw8c, 1, false, false};
  Problem free = depthwise(c, false, 5), clamped = depthwise(c, false, 5);
  run(free);
  run(clamped, nullptr, 0, {elek::Activation::Kind::kClip, -0.5F, 0.75F});
  int64_t cut = 0;
  for (int64_t i = 0; i < free.pk * free.oh * free.ow; ++i) {
    const float v = free.y.data[i], want = v < -0.5F ? -0.5F : v > 0.75F ? 0.75F : v;
    ASSERT_EQ(clamped.y.data[i], want) << "at " << i;
    cut += v == want ? 0 : 1;
  }
  EXPECT_GT(cut, 0);
}

TEST(DepthwiseTest, ThreadsSamplesAndStatisticsDoNotChangeABit) {
  Shape c{2, 37, 37, 14, 14, 3, 1, 1, Layout::kNChw16c, 1, true, true};
  Problem one = depthwise(c, false, 21);
  run(one);
  c.threads = 2;
  Problem two = depthwise(c, false, 21);
  const conv_case::SumsBlock block(two, kActivity, 0.0F);
  run(two, &block.sums, 7);
  for (int64_t i = 0; i < c.samples * one.pk * one.oh * one.ow; ++i) ASSERT_EQ(one.y.data[i], two.y.data[i]) << "at " << i;
}

TEST(DepthwiseTest, SaysNoToWhatItCannotDo) {
  EXPECT_FALSE(plan_depthwise({1, 8, 8, 8, 3, 1, 1, Layout::kNchw, 1}));
  EXPECT_FALSE(plan_depthwise({1, 8, 2, 2, 3, 1, 0, Layout::kNChw16c, 1}));
  Problem p = depthwise({2, 8, 8, 4, 4, 1, 1, 0, Layout::kNChw16c, 1, false, false}, true, 1);
  const auto plan = plan_depthwise({1, 8, 4, 4, 1, 1, 0, Layout::kNChw16c, 1}).value();
  EXPECT_THROW(
      depthwise_conv(plan, {.x = p.x_view(), .packed = p.w.data(), .bias = p.bias.data, .residual = {}, .y = p.output()}),
      ContractError);
}

}  // namespace
}  // namespace elek::kernels::cpu
