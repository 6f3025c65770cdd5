// SPDX-License-Identifier: Apache-2.0
// Winograd kernels compared with a direct convolution in double: every instruction set of this machine, both tiles, odd
// channels, maps of every size up to 17, partial batches, one and two threads. The bound is componentwise and derived
// (docs/winograd.md). Let M be y = A^T [sum_c (G w G^T) . (B^T x B)] A with every factor replaced by its absolute value. Then
//   |error| <= (C + 26) * 2^-24 * M, with the matrices of the output's tile (whole, or smaller at the edge).
// C is for the accumulation in f32, 8 for U = G . G^T, 6 for B^T . B, 10 for A^T . A, 2 for bias and residual. Edge tiles need
// no more.
#include "kernels/cpu/winograd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/cpu/vectors.h"
#include "tests/kernels/conv_case.h"
#include "tests/kernels/winograd_bound.h"

namespace elek::kernels::cpu {
namespace {

using conv_case::bound_of;
using conv_case::Direct;
using conv_case::Floats;
using conv_case::index_of;
using conv_case::matrices;
using conv_case::Matrices;
using conv_case::Problem;
using conv_case::sandwich;
using conv_case::Shape;
using conv_case::SumsBlock;
using conv_case::TileOf;
using conv_case::weight_points;
using test::for_each_target;

constexpr float kCanary = 12345;

struct Case {
  Shape shape;
  WinogradTile tile;
};

/// `planned`: samples that the plan is made for, when more than the run has. `in_place`: the residual lies where y goes.
struct RunWith {
  int64_t planned = 0;
  bool in_place = false;
  size_t most_scratch = SIZE_MAX;
};

void run(Problem& p, WinogradTile tile, const ChannelSums* sums = nullptr, RunWith with = {}) {
  const Shape& c = p.spec;
  const int64_t planned = std::max(with.planned, c.samples);
  const auto plan = plan_winograd(
      {planned, c.channels, c.out_channels, c.height, c.width, c.padding.top, c.layout, tile, c.threads, with.most_scratch});
  ASSERT_TRUE(plan) << plan.reason();
  Floats packed(plan.value().packed_bytes / sizeof(float), conv_case::kNan);
  Floats scratch(plan.value().scratch_bytes / sizeof(float), conv_case::kNan);
  std::fill(scratch.data + plan.value().scratch_bytes / sizeof(float), scratch.storage.data() + scratch.storage.size(),
            kCanary);
  pack_winograd_weights(plan.value(), p.w.data(), packed.data);
  auto residual = p.residual_view();
  if (with.in_place) {
    std::copy_n(p.residual.data, c.samples * p.pk * p.oh * p.ow, p.y.data);
    residual.data = p.y.data;
  }
  winograd_conv(plan.value(), {.x = p.x_view(),
                               .packed = packed.data,
                               .bias = p.bias.data,
                               .residual = residual,
                               .activation = c.relu ? elek::Activation::kRelu : elek::Activation::kNone,
                               .y = p.output(),
                               .scratch = scratch.data,
                               .sums = sums});
  for (const float* f = scratch.data + plan.value().scratch_bytes / sizeof(float); f != &*scratch.storage.end(); ++f)
    ASSERT_EQ(*f, kCanary) << "scratch overrun, " << conv_case::print(c);
}

/// The bound of every output, [n][k][oh][ow].
std::vector<double> bounds(const Problem& p, WinogradTile tile) {
  const Shape& c = p.spec;
  const auto m = static_cast<int64_t>(tile);
  const Matrices g = matrices(tile, m);
  std::vector<std::vector<double>> u;
  for (int64_t k = 0; k < c.out_channels; ++k)
    for (int64_t ch = 0; ch < c.channels; ++ch) u.push_back(weight_points(p, g.g, k, ch));
  std::vector<double> bound(static_cast<size_t>(c.samples * c.out_channels * p.oh * p.ow));
  const auto tile_bounds = [&](int64_t n, int64_t ty, int64_t tx) {
    const TileOf t(p, tile, ty, tx);
    std::vector<std::vector<double>> v;
    for (int64_t ch = 0; ch < c.channels; ++ch) v.push_back(t.points(p, n, ch));
    for (int64_t k = 0; k < c.out_channels; ++k) {
      std::vector<double> product(v[0].size(), 0);
      for (int64_t ch = 0; ch < c.channels; ++ch)
        for (size_t q = 0; q < product.size(); ++q)
          product[q] += v[static_cast<size_t>(ch)][q] * u[static_cast<size_t>(k * c.channels + ch)][q];
      const std::vector<double> magnitude = sandwich(t.vertical.at, product, t.horizontal.at);
      for (int64_t i = 0; i < m && ty + i < p.oh; ++i)
        for (int64_t j = 0; j < m && tx + j < p.ow; ++j)
          bound[static_cast<size_t>(((n * c.out_channels + k) * p.oh + ty + i) * p.ow + tx + j)] =
              bound_of(p, magnitude[static_cast<size_t>(i * t.columns.outputs + j)], n, k, ty + i, tx + j);
    }
  };
  for (int64_t n = 0; n < c.samples; ++n)
    for (int64_t ty = 0; ty < p.oh; ty += m)
      for (int64_t tx = 0; tx < p.ow; tx += m) tile_bounds(n, ty, tx);
  return bound;
}

/// Outputs outside their bounds; the largest error relative to the largest output goes to `worst`.
int64_t outside(const Problem& p, WinogradTile tile, double* worst) {
  const Direct direct(p);
  const std::vector<double> bound = bounds(p, tile);
  double largest = 0, error = 0;
  int64_t bad = 0;
  p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t o) {
    const double diff = std::fabs(p.y.data[index_of(p.y_view(), n, k, row, column)] - direct.y[o]);
    if (!(diff <= bound[o])) ++bad;
    largest = std::max(largest, std::fabs(direct.y[o]));
    error = std::max(error, diff);
  });
  *worst = std::max(*worst, error / std::max(largest, 1.0));
  return bad;
}

std::string print(const Case& c) {
  return conv_case::print(c.shape) + " F" + std::to_string(static_cast<int>(c.tile)) + " on " + instruction_set();
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
      all.push_back({4, 131, 50, 4, 3, 3, 1, 1, layout, threads, true, true});
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
      EXPECT_EQ(outside(p, c.tile, &worst[static_cast<int>(c.tile)]), 0) << print(c);
      conv_case::expect_zero_padding(p);
    }
    std::printf("%s: max error / max output: F(2x2) %.2g, F(4x4) %.2g\n", instruction_set(), worst[2], worst[4]);
  });
}

/// With the scratch limited, down to one panel of tiles per thread.
TEST(WinogradTest, LessScratchKeepsTheBound) {
  for_each_target([] {
    double worst[5] = {};
    const auto scratch_bytes = [](const Case& c, size_t most) {
      const Shape& s = c.shape;
      return plan_winograd(
                 {s.samples, s.channels, s.out_channels, s.height, s.width, s.padding.top, s.layout, c.tile, s.threads, most})
          .value()
          .scratch_bytes;
    };
    for (const Case& c : cases()) {
      const size_t usual = scratch_bytes(c, SIZE_MAX), least = scratch_bytes(c, 0);
      EXPECT_LE(least, usual) << print(c);
      for (const size_t most : {usual - usual / 3, size_t{0}}) {
        EXPECT_LE(scratch_bytes(c, most), std::max(most, least)) << print(c);
        Problem p(c.shape, /*integers=*/false, 7);
        run(p, c.tile, nullptr, {.planned = 0, .in_place = false, .most_scratch = most});
        EXPECT_EQ(outside(p, c.tile, &worst[static_cast<int>(c.tile)]), 0) << print(c) << " with " << most;
      }
    }
  });
}

TEST(WinogradTest, MatricesOfTheBoundConvolve) {
  // Checks for every kind of tile, in double, that A^T [(G w) . (B^T x)] is the convolution. All kinds share G: the edge tiles
  // use points of the whole tile, with unchanged weights.
  for (const auto& [tile, outputs] : {std::pair{WinogradTile::k2x2, 2}, std::pair{WinogradTile::k4x4, 4},
                                      std::pair{WinogradTile::k4x4, 3}, std::pair{WinogradTile::k4x4, 2}}) {
    const Matrices mats = matrices(tile, outputs);
    const double w[3] = {0.7, -1.1, 2.3}, x[6] = {1.9, -0.4, 3.1, 0.8, -2.7, 1.3};
    for (size_t o = 0; o < static_cast<size_t>(outputs); ++o) {
      double y = 0;
      for (size_t i = 0; i < mats.g.size(); ++i) {
        double u = 0, v = 0;
        for (size_t j = 0; j < 3; ++j) u += mats.g[i][j] * w[j];
        for (size_t j = 0; j < mats.bt[i].size(); ++j) v += mats.bt[i][j] * x[j];
        y += mats.at[o][i] * u * v;
      }
      EXPECT_NEAR(y, w[0] * x[o] + w[1] * x[o + 1] + w[2] * x[o + 2], 1e-13) << outputs << " outputs, " << o;
    }
  }
}

TEST(WinogradTest, EverySizeFrom1To17EqualsTheDirectConvolution) {
  // Every pair of edge tiles, alone and beside whole ones; plans for more samples than the run has; the residual in place.
  for_each_target([] {
    double worst = 0;
    for (int64_t high = 1; high <= 17; ++high)
      for (int64_t wide = 1; wide <= 17; ++wide) {
        const bool odd = (high + wide) % 2 == 1;
        const int64_t padding = high + wide == 2 ? 1 : (high / 2 + wide) % 2, more = 2 - 2 * padding;
        const Shape c{1 + high % 3,
                      3,
                      17,
                      high + more,
                      wide + more,
                      3,
                      1,
                      padding,
                      odd ? Layout::kNChw16c : Layout::kNChw8c,
                      wide % 3 == 0 ? 2 : 1,
                      odd,
                      high % 3 == 1};
        Problem p(c, /*integers=*/false, 5);
        run(p, WinogradTile::k4x4, nullptr, {.planned = c.samples + high % 4, .in_place = odd});
        ASSERT_EQ(outside(p, WinogradTile::k4x4, &worst), 0) << print({c, WinogradTile::k4x4});
        conv_case::expect_zero_padding(p);
      }
    std::printf("%s: max error / max output %.2g\n", instruction_set(), worst);
  });
}

TEST(WinogradTest, SumsOfEdgeTilesAreThoseOfTheStoredValues) {
  for_each_target([] {
    for (const int64_t height : {1, 2, 3, 5, 6, 7})
      for (const int64_t width : {1, 2, 3, 5, 6, 7})
        conv_case::expect_sums(
            std::vector<Shape>{{3, 3, 17, height, width, 3, 1, 1, Layout::kNChw16c, 1, width > 3, height > 3}},
            [](Problem& p, const ChannelSums* sums) { run(p, WinogradTile::k4x4, sums, {.planned = 5}); });
  });
}

TEST(WinogradTest, NanOfAPixelStaysInTheTilesThatReadIt) {
  for_each_target([] {
    for (const int64_t row : {0, 3, 4, 8, 9, 12})
      for (const int64_t column : {0, 4, 7, 9, 10}) {
        Problem p({2, 3, 17, 13, 11, 3, 1, 1, Layout::kNChw16c, 1, false, true}, false, 17);
        p.x.data[index_of(p.x_view(), 1, 2, row, column)] = conv_case::kNan;
        run(p, WinogradTile::k4x4);
        // Rows [first - 1, first + outputs + 1) of the input belong to the tile.
        const auto reads = [](int64_t size, int64_t output, int64_t pixel) {
          const conv_case::Span span = conv_case::span_at(WinogradTile::k4x4, size, output);
          return pixel >= span.first - 1 && pixel < span.first + span.outputs + 1;
        };
        int64_t lost = 0, spread = 0;
        p.each_output([&](int64_t n, int64_t k, int64_t y, int64_t x, size_t) {
          const bool nan = std::isnan(p.y.data[index_of(p.y_view(), n, k, y, x)]);
          const bool of_window = n == 1 && std::abs(y - row) <= 1 && std::abs(x - column) <= 1;
          lost += of_window && !nan ? 1 : 0;
          spread += nan && !(n == 1 && reads(p.oh, y, row) && reads(p.ow, x, column)) ? 1 : 0;
        });
        EXPECT_EQ(lost, 0) << row << ", " << column << " on " << instruction_set();
        EXPECT_EQ(spread, 0) << row << ", " << column << " on " << instruction_set();
      }
  });
}

TEST(WinogradTest, ASampleHasTheSameBitsWhateverRunsBesideIt) {
  // Alone, the four tiles of a 7x7 map are few enough to run without U. With other tiles, or in a plan for more samples, they
  // may not be.
  const auto expect_same = [](Shape whole, int64_t samples, int64_t planned, WinogradTile tile) {
    Shape part = whole;
    part.samples = samples;
    Problem all(whole, false, 23), some(part, false, 23);
    std::copy_n(all.w.begin(), all.w.size(), some.w.begin());
    std::copy_n(all.bias.data, all.pk, some.bias.data);
    std::copy_n(all.x.data, samples * all.pc * whole.height * whole.width, some.x.data);
    run(all, tile);
    run(some, tile, nullptr, {.planned = planned});
    EXPECT_TRUE(std::equal(some.y.data, some.y.data + samples * all.pk * all.oh * all.ow, all.y.data))
        << print({part, tile}) << ", planned for " << planned;
  };
  for_each_target([&] {
    for (const int threads : {1, 2}) {
      expect_same({5, 16, 40, 14, 7, 3, 1, 1, Layout::kNChw16c, threads, false, true}, 2, 9, WinogradTile::k4x4);
      for (const int64_t channels : {16, 150, 300})
        for (const int64_t planned : {1, 9})
          expect_same({5, channels, 40, 7, 7, 3, 1, 1, Layout::kNChw16c, threads, false, true}, 1, planned, WinogradTile::k4x4);
      expect_same({3, 70, 40, 4, 3, 3, 1, 1, Layout::kNChw8c, threads, false, true}, 1, 1, WinogradTile::k2x2);
    }
  });
}

TEST(WinogradTest, HowThreadsDivideTheWorkLeavesTheBitsAlone) {
  struct Way {
    Shape shape;
    bool split_channels, shared_v, whole_u;
  };
  const Way ways[] = {
      {{1, 20, 40, 40, 30, 3, 1, 1, Layout::kNChw16c, 2, true, true}, false, false, false},
      {{1, 20, 40, 125, 90, 3, 1, 1, Layout::kNChw16c, 2, true, true}, false, false, true},
      {{1, 256, 80, 12, 10, 3, 1, 1, Layout::kNChw16c, 2, true, true}, true, false, false},
      {{2, 256, 80, 30, 28, 3, 1, 1, Layout::kNChw16c, 2, true, true}, true, true, false},
      {{3, 256, 80, 30, 28, 3, 1, 1, Layout::kNChw16c, 2, true, true}, false, false, false},
  };
  for_each_target([&] {
    double worst = 0;
    for (const Way& way : ways) {
      const Shape& c = way.shape;
      const WinogradPlan plan = plan_winograd({c.samples, c.channels, c.out_channels, c.height, c.width, c.padding.top,
                                               c.layout, WinogradTile::k4x4, c.threads})
                                    .value();
      EXPECT_EQ(std::tuple(plan.split_channels, plan.shared_v, plan.whole_u),
                std::tuple(way.split_channels, way.shared_v, way.whole_u))
          << conv_case::print(c);
      Shape one_thread = c;
      one_thread.threads = 1;
      Problem two(c, false, 29), one(one_thread, false, 29);
      run(two, WinogradTile::k4x4);
      run(one, WinogradTile::k4x4);
      EXPECT_EQ(outside(two, WinogradTile::k4x4, &worst), 0) << conv_case::print(c) << " on " << instruction_set();
      EXPECT_TRUE(std::equal(two.y.data, two.y.data + c.samples * two.pk * two.oh * two.ow, one.y.data))
          << conv_case::print(c) << " on " << instruction_set();
    }
  });
}

TEST(WinogradTest, EdgeTilesTakeFewerProducts) {
  const auto products = [](int64_t height, int64_t width) {
    return plan_winograd({1, 16, 16, height, width, 1, Layout::kNChw16c, WinogradTile::k4x4, 1}).value().products;
  };
  EXPECT_EQ(products(8, 12), 6 * 36);
  EXPECT_EQ(products(14, 14), (3 * 6 + 4) * (3 * 6 + 4));
  EXPECT_EQ(products(7, 7), (6 + 5) * (6 + 5));
  EXPECT_EQ(products(5, 11), (6 + 4) * (6 + 6 + 5));
  EXPECT_EQ(products(1, 3), 4 * 5);
}

TEST(WinogradTest, IntegersAreExactUnderF2x2) {
  // F(2x2) multiplies by 1, 1/2 and 1/4 only. So with small integers every step and the result are exact.
  for_each_target([] {
    for (const Shape& c : shapes()) {
      Problem p(c, /*integers=*/true, 3);
      run(p, WinogradTile::k2x2);
      const Direct direct(p);
      int64_t bad = 0;
      p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t o) {
        if (!(p.y.data[index_of(p.y_view(), n, k, row, column)] == static_cast<float>(direct.y[o]))) ++bad;
      });
      EXPECT_EQ(bad, 0) << conv_case::print(c) << " on " << instruction_set();
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
        [](Problem& p, const ChannelSums* sums) { run(p, WinogradTile::k4x4, sums); }, instruction_set());
  });
}

TEST(WinogradTest, SaysNoToWhatItCannotDo) {
  EXPECT_FALSE(plan_winograd({1, 8, 8, 8, 8, 1, Layout::kNchw, WinogradTile::k4x4, 1}));
  EXPECT_FALSE(plan_winograd({1, 8, 8, 8, 8, 2, Layout::kNChw16c, WinogradTile::k4x4, 1}));
  EXPECT_FALSE(plan_winograd({1, 8, 8, 2, 2, 0, Layout::kNChw16c, WinogradTile::k4x4, 1}));
}

}  // namespace
}  // namespace elek::kernels::cpu
