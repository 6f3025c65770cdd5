// SPDX-License-Identifier: Apache-2.0
// Winograd kernels against a direct convolution in double: every instruction set this machine has, both tiles, odd channels,
// ragged maps, partial batches, one and two threads. The bound is componentwise and derived (docs/winograd.md): with every
// factor of y = A^T [sum_c (G w G^T) . (B^T x B)] A replaced by its absolute value,
//   |error| <= (C + 19) * 2^-24 * that,
// C for the accumulation in f32, 1 for rounding U, 6 for B^T . B, 10 for A^T . A, 2 for bias and residual.
#include "kernels/cpu/winograd.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/conv_case.h"
#include "tests/kernels/winograd_bound.h"

namespace elek::kernels {
namespace {

using conv_case::Direct;
using conv_case::Floats;
using conv_case::index_of;
using conv_case::matrices;
using conv_case::Matrices;
using conv_case::Problem;
using conv_case::sandwich;
using conv_case::Shape;
using test::for_each_target;

struct Case {
  Shape shape;
  WinogradTile tile;
};

void run(Problem& p, WinogradTile tile, const ChannelSums* sums = nullptr) {
  const Shape& c = p.spec;
  const auto plan =
      plan_winograd({c.samples, c.channels, c.out_channels, c.height, c.width, c.padding, c.layout, tile, c.threads});
  ASSERT_TRUE(plan) << plan.reason();
  Floats packed(plan.value().packed_bytes / sizeof(float), conv_case::kNan);
  Floats scratch(plan.value().scratch_bytes / sizeof(float), conv_case::kNan);
  pack_winograd_weights(plan.value(), p.w.data(), packed.data);
  winograd_conv(plan.value(), {.x = p.x_view(),
                               .packed = packed.data,
                               .bias = p.bias.data,
                               .residual = p.residual_view(),
                               .relu = c.relu,
                               .y = p.output(),
                               .scratch = scratch.data,
                               .sums = sums});
}

/// The bound of every output, [n][k][oh][ow].
std::vector<double> bounds(const Problem& p, WinogradTile tile) {
  const Shape& c = p.spec;
  const Matrices mats = matrices(tile);
  const auto m = static_cast<int64_t>(tile);
  std::vector<std::vector<double>> u;  // |G||w||G|^T
  for (size_t i = 0; i < p.w.size(); i += 9)
    u.push_back(sandwich(mats.g, {p.w.begin() + static_cast<long>(i), p.w.begin() + static_cast<long>(i) + 9}));
  std::vector<double> bound(static_cast<size_t>(c.samples * c.out_channels * p.oh * p.ow));
  const auto tile_bounds = [&](int64_t n, int64_t ty, int64_t tx) {
    std::vector<std::vector<double>> v;
    for (int64_t ch = 0; ch < c.channels; ++ch) {
      std::vector<double> patch;
      for (int64_t i = 0; i < m + 2; ++i)
        for (int64_t j = 0; j < m + 2; ++j) patch.push_back(p.input(n, ch, ty - c.padding + i, tx - c.padding + j));
      v.push_back(sandwich(mats.bt, patch));
    }
    for (int64_t k = 0; k < c.out_channels; ++k) {
      std::vector<double> product(v[0].size(), 0);
      for (int64_t ch = 0; ch < c.channels; ++ch)
        for (size_t q = 0; q < product.size(); ++q)
          product[q] += v[static_cast<size_t>(ch)][q] * u[static_cast<size_t>(k * c.channels + ch)][q];
      const std::vector<double> magnitude = sandwich(mats.at, product);
      for (int64_t i = 0; i < m && ty + i < p.oh; ++i)
        for (int64_t j = 0; j < m && tx + j < p.ow; ++j) {
          const double r = c.residual ? p.residual.data[index_of(p.y_view(), n, k, ty + i, tx + j)] : 0.0;
          bound[static_cast<size_t>(((n * c.out_channels + k) * p.oh + ty + i) * p.ow + tx + j)] =
              static_cast<double>(c.channels + 19) * std::ldexp(1.0, -24) *
              (magnitude[static_cast<size_t>(i * m + j)] + std::fabs(static_cast<double>(p.bias.data[k])) + std::fabs(r));
        }
    }
  };
  for (int64_t n = 0; n < c.samples; ++n)
    for (int64_t ty = 0; ty < p.oh; ty += m)
      for (int64_t tx = 0; tx < p.ow; tx += m) tile_bounds(n, ty, tx);
  return bound;
}

std::string print(const Case& c) {
  return conv_case::print(c.shape) + " F" + std::to_string(static_cast<int>(c.tile)) + " on " + winograd_target();
}

std::vector<Shape> shapes() {
  std::vector<Shape> all;
  for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c})
    for (const int threads : {1, 2}) {
      all.push_back({1, 1, 1, 1, 1, 3, 1, 1, layout, threads, false, false});
      all.push_back({2, 7, 37, 5, 9, 3, 1, 1, layout, threads, true, true});
      all.push_back({3, 16, 16, 7, 7, 3, 1, 1, layout, threads, false, true});
      all.push_back({2, 37, 70, 14, 14, 3, 1, 1, layout, threads, true, false});
      all.push_back({1, 64, 33, 12, 10, 3, 1, 0, layout, threads, false, true});
      all.push_back({3, 129, 64, 8, 8, 3, 1, 1, layout, threads, true, true});
      all.push_back({1, 512, 40, 7, 7, 3, 1, 1, layout, threads, true, true});
    }
  return all;
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const WinogradTile tile : {WinogradTile::k2x2, WinogradTile::k4x4})
    for (const Shape& shape : shapes()) all.push_back({shape, tile});
  return all;
}

TEST(WinogradTest, EqualsTheDirectConvolutionWithinTheDerivedBound) {
  for_each_target([] {
    double worst[5] = {};
    for (const Case& c : cases()) {
      Problem p(c.shape, /*integers=*/false, 7);
      run(p, c.tile);
      const Direct direct(p);
      const std::vector<double> bound = bounds(p, c.tile);
      double largest = 0, error = 0;
      int64_t bad = 0;
      p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t o) {
        const double diff = std::fabs(p.y.data[index_of(p.y_view(), n, k, row, column)] - direct.y[o]);
        if (!(diff <= bound[o])) ++bad;
        largest = std::max(largest, std::fabs(direct.y[o]));
        error = std::max(error, diff);
      });
      EXPECT_EQ(bad, 0) << print(c);
      conv_case::expect_zero_padding(p);
      worst[static_cast<int>(c.tile)] = std::max(worst[static_cast<int>(c.tile)], error / std::max(largest, 1.0));
    }
    std::printf("%s: max error / max output: F(2x2) %.2g, F(4x4) %.2g\n", winograd_target(), worst[2], worst[4]);
  });
}

TEST(WinogradTest, IntegersAreExactUnderF2x2) {
  // F(2x2) multiplies by 1, 1/2 and 1/4 only: with small integers every step is exact, so is the answer.
  for_each_target([] {
    for (const Shape& c : shapes()) {
      Problem p(c, /*integers=*/true, 3);
      run(p, WinogradTile::k2x2);
      const Direct direct(p);
      int64_t bad = 0;
      p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t o) {
        if (!(p.y.data[index_of(p.y_view(), n, k, row, column)] == static_cast<float>(direct.y[o]))) ++bad;
      });
      EXPECT_EQ(bad, 0) << conv_case::print(c) << " on " << winograd_target();
    }
  });
}

TEST(WinogradTest, SumsAreThoseOfTheStoredValues) {
  for_each_target([] {
    for (const WinogradTile tile : {WinogradTile::k2x2, WinogradTile::k4x4})
      conv_case::expect_sums(shapes(), [tile](Problem& p, const ChannelSums* sums) { run(p, tile, sums); });
  });
}

TEST(WinogradTest, MomentsAreTakenBeforeResidualAndRelu) {
  conv_case::expect_moments_before_the_rest({2, 7, 37, 5, 9, 3, 1, 1, Layout::kNChw16c, 2, true, true},
                                            [](Problem& p, const ChannelSums* sums) { run(p, WinogradTile::k4x4, sums); });
}

TEST(WinogradTest, NanAndInfinityAreKeptAndCounted) {
  for_each_target([] {
    conv_case::expect_nonfinite_kept_and_counted(
        {1, 16, 37, 9, 9, 3, 1, 1, Layout::kNChw16c, 1, false, true},
        [](Problem& p, const ChannelSums* sums) { run(p, WinogradTile::k4x4, sums); }, winograd_target());
  });
}

TEST(WinogradTest, SaysNoToWhatItCannotDo) {
  EXPECT_FALSE(plan_winograd({1, 8, 8, 8, 8, 1, Layout::kNchw, WinogradTile::k4x4, 1}));
  EXPECT_FALSE(plan_winograd({1, 8, 8, 8, 8, 2, Layout::kNChw16c, WinogradTile::k4x4, 1}));
  EXPECT_FALSE(plan_winograd({1, 8, 8, 2, 2, 0, Layout::kNChw16c, WinogradTile::k4x4, 1}));
}

}  // namespace
}  // namespace elek::kernels
