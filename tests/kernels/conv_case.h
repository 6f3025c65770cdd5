// SPDX-License-Identifier: Apache-2.0
// Checks of the sums that kernels which compute a convolution themselves (winograd, gemm_conv) take in their epilogue. They are
// the same for every such kernel. The problems are those of tests/kernels/conv_problem.h.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/kernels/conv_problem.h"
#include "tests/kernels/kernel_case.h"

namespace elek::kernels::cpu::conv_case {

/// Checks that every padding lane of y was written as zero.
inline void expect_zero_padding(const Problem& p) {
  int64_t wrong = 0;
  for (int64_t n = 0; n < p.spec.samples; ++n)
    for (int64_t c = p.spec.out_channels; c < p.pk; ++c)
      for (int64_t i = 0; i < p.oh * p.ow; ++i)
        wrong += p.y.data[index_of(p.y_view(), n, c, i / p.ow, i % p.ow)] == 0.0F ? 0 : 1;
  EXPECT_EQ(wrong, 0) << print(p.spec);
}

/// The sums of `block` compared with the values that `p` now holds. f32 over at most 16 terms, then double: 15 * 2^-24 of sum
/// |y|.
inline void expect_sums_of_stored(const Problem& p, const SumsBlock& block, uint32_t which, double threshold) {
  const Shape& c = p.spec;
  const size_t k_count = static_cast<size_t>(c.out_channels);
  std::vector<double> sum(k_count), sum_sq(k_count), z_sum(k_count), z_sum_sq(k_count), abs_sum(k_count), max(k_count);
  std::vector<int64_t> active(k_count), nonfinite(k_count);
  const bool all = which != kActivity;
  block.sums.reduce({.nonfinite = nonfinite.data(),
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
        want += y, want_sq += y * y, want_abs += std::fabs(y), want_max = std::max(want_max, y), want_active += y > threshold;
      }
    const size_t s = static_cast<size_t>(k);
    const double tolerance = 15 * std::ldexp(1.0, -24);
    EXPECT_EQ(active[s], want_active) << print(c) << " channel " << k;
    EXPECT_EQ(nonfinite[s], 0);
    EXPECT_LE(std::fabs(sum[s] - want), tolerance * want_abs) << print(c) << " channel " << k;
    EXPECT_LE(std::fabs(sum_sq[s] - want_sq), (tolerance + std::ldexp(1.0, -24)) * want_sq) << print(c) << " channel " << k;
    if (!all) continue;
    EXPECT_LE(std::fabs(abs_sum[s] - want_abs), tolerance * want_abs) << print(c);
    EXPECT_EQ(max[s], want_max) << print(c) << " channel " << k;
    if (c.residual || c.relu) continue;
    EXPECT_EQ(z_sum[s], sum[s]);
    EXPECT_EQ(z_sum_sq[s], sum_sq[s]);
  }
}

/// Runs `run(problem, sums)` on every instruction set and case: the sums must be those of the stored values, for both ways to
/// watch.
template <class Cases, class Run>
void expect_sums(const Cases& cases, const Run& run) {
  for (const auto& c : cases)
    for (const uint32_t which : {uint32_t{kActivity}, uint32_t{kActivity | kMoments | kAbsolute | kRange}}) {
      Problem p(c, false, 11);
      const SumsBlock block(p, which, 0.25F);
      run(p, &block.sums);
      expect_sums_of_stored(p, block, which, 0.25);
    }
}

/// z is summed before residual and ReLU: the same with and without them.
template <class Run>
void expect_moments_before_the_rest(Shape with, const Run& run) {
  Shape without = with;
  without.residual = without.relu = false;
  std::vector<double> moments[2];
  int i = 0;
  for (const Shape& c : {with, without}) {
    Problem p(c, false, 11);
    const SumsBlock block(p, kMoments, 0.0F);
    run(p, &block.sums);
    const auto channels = static_cast<size_t>(c.out_channels);
    moments[i].resize(2 * channels);
    block.sums.reduce({.z_sum = moments[i].data(), .z_sum_sq = moments[i].data() + channels});
    ++i;
  }
  EXPECT_EQ(moments[0], moments[1]);
}

/// A NaN bias and an infinite one: stored, counted, and NaN wins the maximum. Needs more than 20 output channels.
template <class Run>
void expect_nonfinite_kept_and_counted(const Shape& c, const Run& run, const char* target) {
  Problem p(c, false, 13);
  p.bias.data[5] = kNan;
  p.bias.data[20] = std::numeric_limits<float>::infinity();
  const SumsBlock block(p, kActivity | kRange, 0.0F);
  run(p, &block.sums);
  const auto channels = static_cast<size_t>(c.out_channels);
  std::vector<int64_t> nonfinite(channels);
  std::vector<double> max(channels);
  block.sums.reduce({.nonfinite = nonfinite.data(), .max = max.data()});
  EXPECT_TRUE(std::isnan(max[5])) << target;
  EXPECT_TRUE(std::isinf(max[20])) << target;
  for (size_t k = 0; k < channels; ++k)
    EXPECT_EQ(nonfinite[k], k == 5 || k == 20 ? c.samples * p.oh * p.ow : 0) << target << " channel " << k;
  EXPECT_TRUE(std::isnan(p.y.data[index_of(p.y_view(), 0, 5, 0, 0)]));
  EXPECT_TRUE(std::isinf(p.y.data[index_of(p.y_view(), 0, 20, 0, 0)]));
}

}  // namespace elek::kernels::cpu::conv_case
