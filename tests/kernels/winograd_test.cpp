// SPDX-License-Identifier: Apache-2.0
// Winograd kernels against a direct convolution in double: every instruction set this machine has, both tiles, odd channels,
// ragged maps, partial batches, one and two threads. The bound is componentwise and derived (docs/winograd.md): with every
// factor of y = A^T [sum_c (G w G^T) . (B^T x B)] A replaced by its absolute value,
//   |error| <= (C + 19) * 2^-24 * that,
// C for the accumulation in f32, 1 for rounding U, 6 for B^T . B, 10 for A^T . A, 2 for bias and residual.
#include "kernels/cpu/winograd.h"

#include "kernels/cpu/targets.h"
// targets.h before any Highway header
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/runtime.h"

namespace elek::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Case {
  int64_t samples, channels, out_channels, height, width, padding;
  Layout layout;
  WinogradTile tile;
  int threads;
  bool residual, relu;
};

/// Aligned floats, prefilled.
struct Floats {
  explicit Floats(size_t n, float value) : storage(n + 64, value) {
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    data = storage.data() + (256 - address % 256) % 256 / sizeof(float);
  }
  std::vector<float> storage;
  float* data;
};

int64_t index_of(const ActivationView<const float>& v, int64_t n, int64_t c, int64_t y, int64_t x) {
  const int64_t block = channel_block(v.layout);
  return (((n * (v.channel_pitch / block) + c / block) * v.shape.height + y) * v.shape.width + x) * block + c % block;
}

struct Problem {
  explicit Problem(const Case& c, bool integers, uint64_t seed)
      : spec(c),
        oh(c.height + 2 * c.padding - 2),
        ow(c.width + 2 * c.padding - 2),
        pc(padded_channels(c.layout, c.channels)),
        pk(padded_channels(c.layout, c.out_channels)),
        x(static_cast<size_t>(c.samples * pc * c.height * c.width), 0.0F),
        y(static_cast<size_t>(c.samples * pk * oh * ow), kNan),
        residual(static_cast<size_t>(c.samples * pk * oh * ow), 0.0F),
        bias(static_cast<size_t>(pk), 0.0F),
        w(static_cast<size_t>(c.out_channels * c.channels * 9)) {
    Random random(seed);
    const auto draw = [&] {
      return integers ? static_cast<float>(random.below(7)) - 3.0F : static_cast<float>(random.normal());
    };
    for (float& value : w) value = draw();
    for (int64_t k = 0; k < c.out_channels; ++k) bias.data[k] = draw() + static_cast<float>(k % 5);  // a swap of channels shows
    for (int64_t n = 0; n < c.samples; ++n)
      for (int64_t ch = 0; ch < c.channels; ++ch)
        for (int64_t i = 0; i < c.height * c.width; ++i) x.data[index_of(x_view(), n, ch, i / c.width, i % c.width)] = draw();
    for (int64_t n = 0; n < c.samples && c.residual; ++n)
      for (int64_t k = 0; k < c.out_channels; ++k)
        for (int64_t i = 0; i < oh * ow; ++i) residual.data[index_of(y_view(), n, k, i / ow, i % ow)] = draw();
  }
  [[nodiscard]] ActivationView<const float> x_view() const {
    return {x.data, spec.samples, {spec.channels, spec.height, spec.width}, spec.layout, pc};
  }
  [[nodiscard]] ActivationView<const float> y_view() const {
    return {y.data, spec.samples, {spec.out_channels, oh, ow}, spec.layout, pk};
  }

  void run(const ChannelSums* sums = nullptr) {
    const auto plan = plan_winograd({spec.samples, spec.channels, spec.out_channels, spec.height, spec.width, spec.padding,
                                     spec.layout, spec.tile, spec.threads});
    ASSERT_TRUE(plan) << plan.reason();
    Floats packed(plan.value().packed_bytes / sizeof(float), kNan), scratch(plan.value().scratch_bytes / sizeof(float), kNan);
    pack_winograd_weights(plan.value(), w.data(), packed.data);
    WinogradArgs args;
    args.x = x_view();
    args.packed = packed.data;
    args.bias = bias.data;
    if (spec.residual) args.residual = {residual.data, spec.samples, {spec.out_channels, oh, ow}, spec.layout, pk};
    args.relu = spec.relu;
    args.y = {y.data, spec.samples, {spec.out_channels, oh, ow}, spec.layout, pk};
    args.scratch = scratch.data;
    args.sums = sums;
    winograd_conv(plan.value(), args);
  }

  Case spec;
  int64_t oh, ow, pc, pk;
  Floats x, y, residual, bias;
  std::vector<float> w;
};

/// Accumulators for a problem's output, aligned and reset.
struct SumsBlock {
  SumsBlock(const Problem& p, uint32_t which, float threshold)
      : raw(ChannelSums::bytes(p.pk, which, p.spec.threads) + ChannelSums::kAlignment) {
    const size_t past = reinterpret_cast<uintptr_t>(raw.data()) % ChannelSums::kAlignment;
    sums = ChannelSums::lay_out(raw.data() + (ChannelSums::kAlignment - past) % ChannelSums::kAlignment, p.spec.out_channels,
                                p.pk, which, threshold, p.spec.threads);
    sums.reset();
  }
  std::vector<std::byte> raw;
  ChannelSums sums;
};

using Matrix = std::vector<std::vector<double>>;
struct Matrices {
  Matrix at, g, bt;
};
Matrices matrices(WinogradTile tile) {
  if (tile == WinogradTile::k2x2)
    return {{{1, 1, 1, 0}, {0, 1, -1, 1}},
            {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}},
            {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}}};
  const double a = std::sqrt(.5), b = std::sqrt(2.);
  return {{{1, 1, 1, 1, 1, 0}, {0, a, -a, b, -b, 0}, {0, .5, .5, 2, 2, 0}, {0, a / 2, -a / 2, 2 * b, -2 * b, 1}},
          {{1, 0, 0},
           {-2 / 3., -2 * a / 3, -1 / 3.},
           {-2 / 3., 2 * a / 3, -1 / 3.},
           {1 / 6., b / 6, 1 / 3.},
           {1 / 6., -b / 6, 1 / 3.},
           {0, 0, 1}},
          {{1, 0, -2.5, 0, 1, 0},
           {0, -2 * a, -2, a, 1, 0},
           {0, 2 * a, -2, -a, 1, 0},
           {0, -b / 2, -.5, b, 1, 0},
           {0, b / 2, -.5, -b, 1, 0},
           {0, 1, 0, -2.5, 0, 1}}};
}

/// |M| |X| |M|^T of a square patch.
std::vector<double> sandwich(const Matrix& m, const std::vector<double>& x) {
  const size_t rows = m.size(), n = m[0].size();
  std::vector<double> t(rows * n, 0), y(rows * rows, 0);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t k = 0; k < n; ++k) t[i * n + j] += std::fabs(m[i][k]) * std::fabs(x[k * n + j]);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < rows; ++j)
      for (size_t k = 0; k < n; ++k) y[i * rows + j] += t[i * n + k] * std::fabs(m[j][k]);
  return y;
}

struct Expected {
  std::vector<double> z, y, bound;  // [n][k][oh][ow]
};

Expected expected(const Problem& p) {
  const Case& c = p.spec;
  Expected e;
  const Matrices mats = matrices(c.tile);
  const auto m = static_cast<int64_t>(c.tile);
  std::vector<std::vector<double>> u;  // |G||w||G|^T
  for (size_t i = 0; i < p.w.size(); i += 9)
    u.push_back(sandwich(mats.g, {p.w.begin() + static_cast<long>(i), p.w.begin() + static_cast<long>(i) + 9}));
  const auto pixel = [&](int64_t n, int64_t ch, int64_t y, int64_t x) -> double {
    return y < 0 || x < 0 || y >= c.height || x >= c.width ? 0.0 : p.x.data[index_of(p.x_view(), n, ch, y, x)];
  };
  const size_t outputs = static_cast<size_t>(c.samples * c.out_channels * p.oh * p.ow);
  e.z.assign(outputs, 0), e.y.assign(outputs, 0), e.bound.assign(outputs, 0);
  const auto at = [&](int64_t n, int64_t k, int64_t y, int64_t x) {
    return static_cast<size_t>(((n * c.out_channels + k) * p.oh + y) * p.ow + x);
  };
  for (int64_t n = 0; n < c.samples; ++n)
    for (int64_t ty = 0; ty < p.oh; ty += m)
      for (int64_t tx = 0; tx < p.ow; tx += m) {
        std::vector<std::vector<double>> v;
        for (int64_t ch = 0; ch < c.channels; ++ch) {
          std::vector<double> patch;
          for (int64_t i = 0; i < m + 2; ++i)
            for (int64_t j = 0; j < m + 2; ++j) patch.push_back(pixel(n, ch, ty - c.padding + i, tx - c.padding + j));
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
              const size_t o = at(n, k, ty + i, tx + j);
              double z = p.bias.data[k];
              for (int64_t ch = 0; ch < c.channels; ++ch)
                for (int64_t q = 0; q < 9; ++q)
                  z += static_cast<double>(p.w[static_cast<size_t>((k * c.channels + ch) * 9 + q)]) *
                       pixel(n, ch, ty + i - c.padding + q / 3, tx + j - c.padding + q % 3);
              const double r = c.residual ? p.residual.data[index_of(p.y_view(), n, k, ty + i, tx + j)] : 0.0;
              e.z[o] = z;
              e.y[o] = c.relu ? std::max(0.0, z + r) : z + r;
              e.bound[o] =
                  static_cast<double>(c.channels + 19) * std::ldexp(1.0, -24) *
                  (magnitude[static_cast<size_t>(i * m + j)] + std::fabs(static_cast<double>(p.bias.data[k])) + std::fabs(r));
            }
        }
      }
  return e;
}

std::string print(const Case& c) {
  return "n" + std::to_string(c.samples) + " c" + std::to_string(c.channels) + " k" + std::to_string(c.out_channels) + " h" +
         std::to_string(c.height) + " w" + std::to_string(c.width) + " pad" + std::to_string(c.padding) + " " +
         std::string(name_of(c.layout)) + " F" + std::to_string(static_cast<int>(c.tile)) + " threads" +
         std::to_string(c.threads) + (c.residual ? " residual" : "") + (c.relu ? " relu" : "") + " on " + winograd_target();
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const WinogradTile tile : {WinogradTile::k2x2, WinogradTile::k4x4})
    for (const Layout layout : {Layout::kNChw16c, Layout::kNChw8c})
      for (const int threads : {1, 2}) {
        all.push_back({1, 1, 1, 1, 1, 1, layout, tile, threads, false, false});
        all.push_back({2, 7, 37, 5, 9, 1, layout, tile, threads, true, true});
        all.push_back({3, 16, 16, 7, 7, 1, layout, tile, threads, false, true});
        all.push_back({2, 37, 70, 14, 14, 1, layout, tile, threads, true, false});
        all.push_back({1, 64, 33, 12, 10, 0, layout, tile, threads, false, true});
        all.push_back({5, 129, 64, 8, 8, 1, layout, tile, threads, true, true});
        all.push_back({1, 512, 40, 7, 7, 1, layout, tile, threads, true, true});
      }
  return all;
}

/// Runs the body once for every instruction set that this machine has.
class WinogradTest : public testing::Test {
 protected:
  template <typename Body>
  void on_every_target(const Body& body) {
    for (int64_t targets = hwy::SupportedTargets() & HWY_TARGETS; targets != 0; targets &= targets - 1) {
      hwy::SetSupportedTargetsForTest(targets & -targets);
      hwy::GetChosenTarget().Update(hwy::SupportedTargets());
      body();
      hwy::SetSupportedTargetsForTest(0);
      hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    }
  }
};

TEST_F(WinogradTest, EqualsTheDirectConvolutionWithinTheDerivedBound) {
  on_every_target([] {
    double worst[5] = {};
    for (const Case& c : cases()) {
      Problem p(c, /*integers=*/false, 7);
      p.run();
      const Expected e = expected(p);
      double largest = 0, error = 0;
      int64_t bad = 0;
      for (int64_t o = 0; o < static_cast<int64_t>(e.y.size()); ++o) {
        const int64_t x = o % p.ow, y = o / p.ow % p.oh, k = o / (p.ow * p.oh) % c.out_channels,
                      n = o / (p.ow * p.oh * c.out_channels);
        const double got = p.y.data[index_of(p.y_view(), n, k, y, x)], diff = std::fabs(got - e.y[static_cast<size_t>(o)]);
        if (!(diff <= e.bound[static_cast<size_t>(o)])) ++bad;
        largest = std::max(largest, std::fabs(e.y[static_cast<size_t>(o)]));
        error = std::max(error, diff);
      }
      EXPECT_EQ(bad, 0) << print(c);
      for (int64_t i = 0; i < c.samples * p.pk * p.oh * p.ow; ++i)
        EXPECT_FALSE(std::isnan(p.y.data[i])) << print(c) << " at " << i;
      worst[static_cast<int>(c.tile)] = std::max(worst[static_cast<int>(c.tile)], error / std::max(largest, 1.0));
    }
    std::printf("%s: max error / max output: F(2x2) %.2g, F(4x4) %.2g\n", winograd_target(), worst[2], worst[4]);
  });
}

TEST_F(WinogradTest, IntegersAreExactUnderF2x2) {
  // F(2x2) multiplies by 1, 1/2 and 1/4 only: with small integers every step is exact, so is the answer.
  on_every_target([] {
    for (const Case& c : cases()) {
      if (c.tile != WinogradTile::k2x2) continue;
      Problem p(c, /*integers=*/true, 3);
      p.run();
      const Expected e = expected(p);
      int64_t bad = 0;
      for (int64_t o = 0; o < static_cast<int64_t>(e.y.size()); ++o) {
        const int64_t x = o % p.ow, y = o / p.ow % p.oh, k = o / (p.ow * p.oh) % c.out_channels,
                      n = o / (p.ow * p.oh * c.out_channels);
        if (!(p.y.data[index_of(p.y_view(), n, k, y, x)] == static_cast<float>(e.y[static_cast<size_t>(o)]))) ++bad;
      }
      EXPECT_EQ(bad, 0) << print(c);
    }
  });
}

TEST_F(WinogradTest, PaddingLanesOfTheOutputAreZero) {
  Problem p({2, 7, 37, 5, 9, 1, Layout::kNChw16c, WinogradTile::k4x4, 2, false, true}, false, 5);
  p.run();
  for (int64_t n = 0; n < 2; ++n)
    for (int64_t c = 37; c < 48; ++c)
      for (int64_t i = 0; i < 45; ++i) EXPECT_EQ(p.y.data[index_of(p.y_view(), n, c, i / 9, i % 9)], 0.0F);
}

TEST_F(WinogradTest, SumsAreThoseOfTheStoredValues) {
  on_every_target([] {
    for (Case c : cases()) {
      for (const uint32_t which : {uint32_t{kActivity}, uint32_t{kActivity | kMoments | kAbsolute | kRange}}) {
        Problem p(c, false, 11);
        const SumsBlock block(p, which, 0.25F);
        const ChannelSums& sums = block.sums;
        p.run(&sums);
        const size_t k_count = static_cast<size_t>(c.out_channels);
        std::vector<double> sum(k_count), sum_sq(k_count), z_sum(k_count), z_sum_sq(k_count), abs_sum(k_count), max(k_count);
        std::vector<int64_t> active(k_count), nonfinite(k_count);
        const bool all = which != kActivity;
        sums.reduce({.nonfinite = nonfinite.data(),
                     .sum = sum.data(),
                     .sum_sq = sum_sq.data(),
                     .active = active.data(),
                     .z_sum = all ? z_sum.data() : nullptr,
                     .z_sum_sq = all ? z_sum_sq.data() : nullptr,
                     .abs_sum = all ? abs_sum.data() : nullptr,
                     .max = all ? max.data() : nullptr});
        for (int64_t k = 0; k < c.out_channels; ++k) {
          double want = 0, want_sq = 0, want_abs = 0, want_max = -1e300;
          int64_t want_active = 0;
          for (int64_t n = 0; n < c.samples; ++n)
            for (int64_t i = 0; i < p.oh * p.ow; ++i) {
              const double y = p.y.data[index_of(p.y_view(), n, k, i / p.ow, i % p.ow)];
              want += y, want_sq += y * y, want_abs += std::fabs(y), want_max = std::max(want_max, y), want_active += y > 0.25;
            }
          const size_t s = static_cast<size_t>(k);
          const double tolerance = 15 * std::ldexp(1.0, -24);  // f32 over at most 16 terms, then double
          EXPECT_EQ(active[s], want_active) << print(c) << " channel " << k;
          EXPECT_EQ(nonfinite[s], 0);
          EXPECT_LE(std::fabs(sum[s] - want), tolerance * want_abs) << print(c) << " channel " << k;
          EXPECT_LE(std::fabs(sum_sq[s] - want_sq), (tolerance + std::ldexp(1.0, -24)) * want_sq)
              << print(c) << " channel " << k;
          if (all) {
            EXPECT_LE(std::fabs(abs_sum[s] - want_abs), tolerance * want_abs) << print(c);
            EXPECT_EQ(max[s], want_max) << print(c) << " channel " << k;
            if (!c.residual && !c.relu) {
              EXPECT_EQ(z_sum[s], sum[s]);
              EXPECT_EQ(z_sum_sq[s], sum_sq[s]);
            }
          }
        }
      }
    }
  });
}

TEST_F(WinogradTest, MomentsAreTakenBeforeResidualAndRelu) {
  Case with{2, 7, 37, 5, 9, 1, Layout::kNChw16c, WinogradTile::k4x4, 2, true, true}, without = with;
  without.residual = without.relu = false;
  std::vector<double> moments[2];
  int i = 0;
  for (const Case& c : {with, without}) {
    Problem p(c, false, 11);
    const SumsBlock block(p, kMoments, 0.0F);
    const ChannelSums& sums = block.sums;
    p.run(&sums);
    moments[i].resize(74);
    sums.reduce({.z_sum = moments[i].data(), .z_sum_sq = moments[i].data() + 37});
    ++i;
  }
  EXPECT_EQ(moments[0], moments[1]);
}

TEST_F(WinogradTest, NanAndInfinityAreKeptAndCounted) {
  on_every_target([] {
    Problem p({1, 16, 37, 9, 9, 1, Layout::kNChw16c, WinogradTile::k4x4, 1, false, true}, false, 13);
    p.bias.data[5] = kNan;
    p.bias.data[20] = std::numeric_limits<float>::infinity();
    const SumsBlock block(p, kActivity | kRange, 0.0F);
    const ChannelSums& sums = block.sums;
    p.run(&sums);
    std::vector<int64_t> nonfinite(37);
    std::vector<double> max(37);
    sums.reduce({.nonfinite = nonfinite.data(), .max = max.data()});
    EXPECT_TRUE(std::isnan(max[5])) << winograd_target();  // NaN wins a maximum
    EXPECT_TRUE(std::isinf(max[20])) << winograd_target();
    for (size_t k = 0; k < 37; ++k)
      EXPECT_EQ(nonfinite[k], k == 5 || k == 20 ? 81 : 0) << winograd_target() << " channel " << k;
    EXPECT_TRUE(std::isnan(p.y.data[index_of(p.y_view(), 0, 5, 4, 4)]));
    EXPECT_TRUE(std::isinf(p.y.data[index_of(p.y_view(), 0, 20, 0, 0)]));
  });
}

TEST_F(WinogradTest, SaysNoToWhatItCannotDo) {
  EXPECT_FALSE(plan_winograd({1, 8, 8, 8, 8, 1, Layout::kNchw, WinogradTile::k4x4, 1}));
  EXPECT_FALSE(plan_winograd({1, 8, 8, 8, 8, 2, Layout::kNChw16c, WinogradTile::k4x4, 1}));
  EXPECT_FALSE(plan_winograd({1, 8, 8, 2, 2, 0, Layout::kNChw16c, WinogradTile::k4x4, 1}));
}

}  // namespace
}  // namespace elek::kernels
