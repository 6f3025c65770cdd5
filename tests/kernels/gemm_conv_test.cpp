// SPDX-License-Identifier: Apache-2.0
// gemm_conv compared with a direct convolution in double: every instruction set of this machine, both blocked layouts, kernels
// 1, 3 and 7, rectangular ones, strides, uneven paddings and dilations, odd channels, odd map sizes, one to three threads (both
// ways to divide the work). The bound is that of an f32 sum in any order: |error| <= (C * kernel^2 + 2) * 2^-24 * (sum |w x| +
// |b| + |r|).
#include "kernels/cpu/gemm_conv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
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

GemmConvProblem problem_of(const Shape& c) {
  return {c.samples, c.channels, c.out_channels, c.height,  c.width,    c.kernel,
          c.stride,  c.padding,  c.layout,       c.threads, c.dilation, c.groups};
}

/// `planned` samples at most, of which the problem's are run.
void run(Problem& p, const ChannelSums* sums = nullptr, int64_t planned = 0, size_t most_scratch = SIZE_MAX) {
  GemmConvProblem problem = problem_of(p.spec);
  problem.most_scratch_bytes = most_scratch;
  problem.samples = std::max(problem.samples, planned);
  const auto plan = plan_gemm_conv(problem);
  ASSERT_TRUE(plan) << plan.reason();
  Floats packed(plan.value().packed_bytes / sizeof(float), conv_case::kNan);
  Floats scratch(plan.value().scratch_bytes / sizeof(float), conv_case::kNan);
  pack_gemm_conv_weights(plan.value(), p.w.data(), packed.data);
  gemm_conv(plan.value(), {.x = p.x_view(),
                           .packed = packed.data,
                           .bias = p.bias.data,
                           .residual = p.residual_view(),
                           .activation = p.spec.relu ? elek::Activation::kRelu : elek::Activation::kNone,
                           .y = p.output(),
                           .scratch = scratch.data,
                           .sums = sums});
}

/// Bytes of scratch that a plan takes under a limit.
size_t scratch_bytes(const Shape& c, size_t most_scratch) {
  GemmConvProblem problem = problem_of(c);
  problem.most_scratch_bytes = most_scratch;
  return plan_gemm_conv(problem).value().scratch_bytes;
}

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c})
    for (const int threads : {1, 2, 3}) {
      all.push_back({1, 1, 1, 1, 1, 1, 1, 0, layout, threads, false, false});
      all.push_back({2, 7, 37, 5, 9, 1, 1, 0, layout, threads, true, true});
      all.push_back({3, 64, 16, 7, 7, 1, 1, 0, layout, threads, false, true});
      all.push_back({2, 37, 70, 14, 14, 1, 1, 0, layout, threads, true, false});
      all.push_back({1, 129, 256, 3, 3, 1, 1, 0, layout, threads, true, true});  // outputs are split
      all.push_back({2, 33, 45, 9, 7, 1, 2, 0, layout, threads, false, true});   // gathered: stride, odd map
      all.push_back({2, 20, 33, 8, 9, 3, 2, 1, layout, threads, true, true});    // gathered: taps and padding
      all.push_back({1, 3, 17, 15, 14, 7, 2, 3, layout, threads, false, false});
      all.push_back({1, 5, 8, 6, 6, 3, 1, 2, layout, threads, false, true});
      all.push_back({2, 9, 17, 9, 11, {1, 7}, {2, 1}, {0, 3, 1, 2}, layout, threads, true, true});  // rectangular, uneven
      all.push_back({1, 7, 21, 12, 9, {3, 2}, {1, 2}, {0, 1, 2, 0}, layout, threads, false, false, {2, 3}});  // dilated
      all.push_back({2, 5, 9, 14, 13, 3, 2, 3, layout, threads, false, true, 3});
      all.push_back({1, 6, 8, 5, 5, 1, 1, {0, 0, 1, 0}, layout, threads, false, false});  // 1x1, padded at one side
      // Groups: of one block, of a few channels, of odd ones as after a cut, with more or fewer outputs, depthwise with
      // dilation.
      all.push_back({2, 64, 64, 9, 7, 3, 1, 1, layout, threads, true, true, 1, 4});
      all.push_back({2, 128, 128, 6, 6, 3, 2, 1, layout, threads, false, true, 1, 32});
      all.push_back({1, 99, 66, 7, 5, 1, 1, 0, layout, threads, true, false, 1, 33});
      all.push_back({1, 51, 119, 8, 9, {1, 3}, {2, 1}, {0, 1, 1, 0}, layout, threads, false, false, 1, 17});
      all.push_back({2, 21, 42, 9, 9, 3, 1, 2, layout, threads, false, true, 2, 21});
      all.push_back({1, 140, 7, 3, 3, 1, 1, 0, layout, threads, false, true, 1, 7});
    }
  return all;
}

/// Smaller blocks are other blocks of the same sums: the same bits. The limit is kept down to a panel per thread.
TEST(GemmConvTest, LessScratchGivesTheSameBits) {
  for_each_target([] {
    for (const Shape& c : shapes()) {
      const size_t usual = scratch_bytes(c, SIZE_MAX), least = scratch_bytes(c, 0);
      EXPECT_EQ(least % static_cast<size_t>(c.threads), 0U);
      Problem expected(c, /*integers=*/false, 7), p(c, /*integers=*/false, 7);
      run(expected);
      for (const size_t most : {usual - usual / 3, usual / 2, size_t{0}}) {
        EXPECT_LE(scratch_bytes(c, most), std::max(most, least)) << conv_case::print(c);
        run(p, nullptr, 0, most);
        int64_t different = 0;
        p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t /*o*/) {
          const auto at = static_cast<size_t>(index_of(p.y_view(), n, k, row, column));
          different += p.y.data[at] == expected.y.data[at] ? 0 : 1;
        });
        EXPECT_EQ(different, 0) << conv_case::print(c) << " with " << most;
      }
    }
  });
}

TEST(GemmConvTest, EqualsTheDirectConvolutionWithinTheDerivedBound) {
  for_each_target([] {
    for (const Shape& c : shapes()) {
      Problem p(c, /*integers=*/false, 7);
      run(p);
      const Direct direct(p);
      const double factor = static_cast<double>(c.channels / c.groups * c.kernel.area() + 2) * std::ldexp(1.0, -24);
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

TEST(GemmConvTest, IntegersAreExact) {
  for_each_target([] {
    for (const Shape& c : shapes()) {
      Problem p(c, /*integers=*/true, 3);
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

TEST(GemmConvTest, SumsAreThoseOfTheStoredValues) {
  for_each_target([] { conv_case::expect_sums(shapes(), [](Problem& p, const ChannelSums* sums) { run(p, sums); }); });
}

TEST(GemmConvTest, MomentsAreTakenBeforeResidualAndRelu) {
  conv_case::expect_moments_before_the_rest({2, 7, 37, 5, 9, 1, 1, 0, Layout::kNChw16c, 2, true, true},
                                            [](Problem& p, const ChannelSums* sums) { run(p, sums); });
}

TEST(GemmConvTest, NanAndInfinityAreKeptAndCounted) {
  for_each_target([] {
    conv_case::expect_nonfinite_kept_and_counted(
        {1, 16, 37, 9, 9, 1, 1, 0, Layout::kNChw16c, 1, false, true}, [](Problem& p, const ChannelSums* sums) { run(p, sums); },
        instruction_set());
  });
}

/// One pixel of many is not finite: it is counted once, and all others keep their maximum.
TEST(GemmConvTest, OneNanIsCountedOnce) {
  for_each_target([] {
    for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c}) {
      const Shape c{1, 16, 37, 9, 9, 1, 1, 0, layout, 2, false, false};
      Problem p(c, false, 17);
      p.x.data[index_of(p.x_view(), 0, 3, 4, 5)] = conv_case::kNan;
      const conv_case::SumsBlock block(p, kActivity | kRange, 0.0F);
      run(p, &block.sums);
      std::vector<int64_t> nonfinite(37);
      block.sums.reduce({.nonfinite = nonfinite.data()});
      EXPECT_EQ(nonfinite, std::vector<int64_t>(37, 1)) << instruction_set();
    }
  });
}

TEST(GemmConvTest, ThreadsSamplesAndStatisticsDoNotChangeABit) {
  // Shapes whose panels are cut differently by two threads, and by a plan for more samples than are run.
  for (Shape c : {Shape{2, 37, 70, 14, 14, 1, 1, 0, Layout::kNChw16c, 1, true, true},
                  Shape{2, 20, 33, 8, 9, 3, 2, 1, Layout::kNChw16c, 1, false, true}}) {
    Problem one(c, false, 21);
    run(one);
    c.threads = 2;
    Problem two(c, false, 21);
    const conv_case::SumsBlock block(two, kActivity, 0.0F);
    run(two, &block.sums, 7);
    for (int64_t i = 0; i < c.samples * one.pk * one.oh * one.ow; ++i)
      ASSERT_EQ(one.y.data[i], two.y.data[i]) << conv_case::print(c) << " at " << i;
  }
}

TEST(GemmConvTest, TheResidualMayBeTheOutput) {
  const Shape c{2, 37, 70, 14, 14, 1, 1, 0, Layout::kNChw16c, 2, true, true};
  Problem apart(c, false, 5), in_place(c, false, 5);
  run(apart);
  const auto plan = plan_gemm_conv(problem_of(c)).value();
  Floats packed(plan.packed_bytes / sizeof(float), conv_case::kNan);
  pack_gemm_conv_weights(plan, in_place.w.data(), packed.data);
  float* both = in_place.y.data = in_place.residual.data;
  gemm_conv(plan, {.x = in_place.x_view(),
                   .packed = packed.data,
                   .bias = in_place.bias.data,
                   .residual = in_place.residual_view(),
                   .activation = elek::Activation::kRelu,
                   .y = in_place.output()});
  for (int64_t i = 0; i < c.samples * apart.pk * apart.oh * apart.ow; ++i) ASSERT_EQ(apart.y.data[i], both[i]) << "at " << i;
}

/// Pooled features have no blocks. Their rows neither begin on a vector's boundary nor end with padding.
TEST(GemmConvTest, OnePixelMayBePlain) {
  for_each_target([] {
    for (const int64_t kernel : {1, 3})
      for (const int64_t groups : {1, 3})
        for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c}) {
          const Shape c{3, 21, 39, 1, 1, kernel, 1, kernel / 2, layout, 2, false, true, 1, groups};
          Problem blocked(c, false, 9), plain(c, false, 9);
          run(blocked);
          std::vector<float> rows(static_cast<size_t>(c.samples * c.channels));
          for (int64_t n = 0; n < c.samples; ++n)
            for (int64_t ch = 0; ch < c.channels; ++ch) {
              rows[static_cast<size_t>(n * c.channels + ch)] = blocked.x.data[index_of(blocked.x_view(), n, ch, 0, 0)];
            }
          GemmConvProblem problem = problem_of(c);
          problem.plain = true;
          const auto plan = plan_gemm_conv(problem).value();
          Floats packed(plan.packed_bytes / sizeof(float), conv_case::kNan);
          Floats scratch(plan.scratch_bytes / sizeof(float), conv_case::kNan);
          pack_gemm_conv_weights(plan, plain.w.data(), packed.data);
          gemm_conv(plan, {.x = {rows.data(), c.samples, c.input(), Layout::kNchw, c.channels},
                           .packed = packed.data,
                           .bias = plain.bias.data,
                           .residual = {},
                           .activation = elek::Activation::kRelu,
                           .y = plain.output(),
                           .scratch = scratch.data});
          for (int64_t i = 0; i < c.samples * plain.pk; ++i) {
            ASSERT_EQ(plain.y.data[i], blocked.y.data[i]) << conv_case::print(c) << " at " << i;
          }
        }
  });
}

/// The first layer reads an image of few channels as it is.
TEST(GemmConvTest, ThePlainInputOfAFirstLayerGivesTheSameBits) {
  for_each_target([] {
    for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c})
      for (Shape c :
           {Shape{2, 3, 20, 15, 14, 7, 2, 3, layout, 2, false, true}, Shape{1, 1, 9, 6, 7, 3, 1, 1, layout, 1, true, true},
            Shape{2, 3, 33, 9, 8, 1, 1, 0, layout, 3, false, false},
            Shape{2, 2, 8, 9, 9, {3, 2}, {1, 2}, {0, 1, 2, 0}, layout, 2, false, true, {2, 3}}}) {
        Problem blocked(c, false, 13), plain(c, false, 13);
        run(blocked);
        std::vector<float> image(static_cast<size_t>(c.samples * c.channels * c.height * c.width));
        for (int64_t n = 0; n < c.samples; ++n)
          for (int64_t ch = 0; ch < c.channels; ++ch)
            for (int64_t i = 0; i < c.height * c.width; ++i) {
              image[static_cast<size_t>((n * c.channels + ch) * c.height * c.width + i)] =
                  blocked.x.data[index_of(blocked.x_view(), n, ch, i / c.width, i % c.width)];
            }
        GemmConvProblem problem = problem_of(c);
        problem.plain = true;
        const auto plan = plan_gemm_conv(problem).value();
        Floats packed(plan.packed_bytes / sizeof(float), conv_case::kNan);
        Floats scratch(plan.scratch_bytes / sizeof(float), conv_case::kNan);
        pack_gemm_conv_weights(plan, plain.w.data(), packed.data);
        gemm_conv(plan, {.x = {image.data(), c.samples, c.input(), Layout::kNchw, c.channels},
                         .packed = packed.data,
                         .bias = plain.bias.data,
                         .residual = plain.residual_view(),
                         .activation = c.relu ? elek::Activation::kRelu : elek::Activation::kNone,
                         .y = plain.output(),
                         .scratch = scratch.data});
        for (int64_t i = 0; i < c.samples * plain.pk * plain.oh * plain.ow; ++i) {
          ASSERT_EQ(plain.y.data[i], blocked.y.data[i]) << conv_case::print(c) << " at " << i;
        }
      }
  });
}

TEST(GemmConvTest, SaysNoToWhatItCannotDo) {
  EXPECT_FALSE(plan_gemm_conv({1, 8, 8, 8, 8, 1, 1, 0, Layout::kNchw, 1}));
  EXPECT_FALSE(plan_gemm_conv({1, 8, 8, 2, 2, 3, 1, 0, Layout::kNChw16c, 1}));
  const Shape c{2, 8, 8, 4, 4, 1, 1, 0, Layout::kNChw16c, 1, false, false};
  Problem p(c, true, 1);
  GemmConvProblem fewer = problem_of(c);
  fewer.samples = 1;
  const auto plan = plan_gemm_conv(fewer).value();
  EXPECT_THROW(gemm_conv(plan, {.x = p.x_view(), .packed = p.w.data(), .bias = p.bias.data, .residual = {}, .y = p.output()}),
               ContractError);
}

}  // namespace
}  // namespace elek::kernels::cpu
