// SPDX-License-Identifier: Apache-2.0
// A convolution problem for the kernels that compute one themselves (winograd, gemm_conv): random or integer data in a blocked
// layout, the direct convolution in double with the magnitudes that error bounds need, and the checks of the sums, which are
// the same for every such kernel. Poison (NaN) stands wherever a kernel must write or must not read.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "engine/base/runtime.h"
#include "kernels/cpu/channel_sums.h"
#include "tests/kernels/kernel_case.h"

namespace elek::kernels::conv_case {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  int64_t samples, channels, out_channels, height, width, kernel, stride, padding;
  Layout layout;
  int threads;
  bool residual, relu;
};

inline std::string print(const Shape& c) {
  return "n" + std::to_string(c.samples) + " c" + std::to_string(c.channels) + " k" + std::to_string(c.out_channels) + " h" +
         std::to_string(c.height) + " w" + std::to_string(c.width) + " kernel" + std::to_string(c.kernel) + " stride" +
         std::to_string(c.stride) + " pad" + std::to_string(c.padding) + " " + std::string(name_of(c.layout)) + " threads" +
         std::to_string(c.threads) + (c.residual ? " residual" : "") + (c.relu ? " relu" : "");
}

/// Aligned floats, prefilled.
struct Floats {
  explicit Floats(size_t n, float value) : storage(n + 64, value) {
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    data = storage.data() + (256 - address % 256) % 256 / sizeof(float);
  }
  std::vector<float> storage;
  float* data;
};

inline int64_t index_of(const ActivationView<const float>& v, int64_t n, int64_t c, int64_t y, int64_t x) {
  const int64_t block = channel_block(v.layout);
  return (((n * (v.channel_pitch / block) + c / block) * v.shape.height + y) * v.shape.width + x) * block + c % block;
}

struct Problem {
  Problem(const Shape& c, bool integers, uint64_t seed)
      : spec(c),
        oh((c.height + 2 * c.padding - c.kernel) / c.stride + 1),
        ow((c.width + 2 * c.padding - c.kernel) / c.stride + 1),
        pc(padded_channels(c.layout, c.channels)),
        pk(padded_channels(c.layout, c.out_channels)),
        x(static_cast<size_t>(c.samples * pc * c.height * c.width), 0.0F),
        y(static_cast<size_t>(c.samples * pk * oh * ow), kNan),
        residual(static_cast<size_t>(c.samples * pk * oh * ow), 0.0F),
        bias(static_cast<size_t>(pk), 0.0F),
        w(static_cast<size_t>(c.out_channels * c.channels * c.kernel * c.kernel)) {
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
  [[nodiscard]] ActivationView<const float> residual_view() const {
    if (!spec.residual) return {};
    return {residual.data, spec.samples, {spec.out_channels, oh, ow}, spec.layout, pk};
  }
  [[nodiscard]] ActivationView<float> output() const {
    return {y.data, spec.samples, {spec.out_channels, oh, ow}, spec.layout, pk};
  }
  [[nodiscard]] double input(int64_t n, int64_t ch, int64_t row, int64_t column) const {
    if (row < 0 || column < 0 || row >= spec.height || column >= spec.width) return 0.0;
    return x.data[index_of(x_view(), n, ch, row, column)];
  }
  /// body(sample, output channel, row, column, [n][k][oh][ow] index)
  template <class Body>
  void each_output(const Body& body) const {
    size_t o = 0;
    for (int64_t n = 0; n < spec.samples; ++n)
      for (int64_t k = 0; k < spec.out_channels; ++k)
        for (int64_t row = 0; row < oh; ++row)
          for (int64_t column = 0; column < ow; ++column) body(n, k, row, column, o++);
  }

  Shape spec;
  int64_t oh, ow, pc, pk;
  Floats x, y, residual, bias;
  std::vector<float> w;
};

/// The direct convolution in double, [n][k][oh][ow]; `magnitude` is the same with every term's absolute value.
struct Direct {
  explicit Direct(const Problem& p) {
    const Shape& c = p.spec;
    const int64_t taps = c.kernel * c.kernel;
    p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t) {
      double z = p.bias.data[k], sum = std::fabs(z);
      for (int64_t ch = 0; ch < c.channels; ++ch)
        for (int64_t q = 0; q < taps; ++q) {
          const double term =
              static_cast<double>(p.w[static_cast<size_t>((k * c.channels + ch) * taps + q)]) *
              p.input(n, ch, row * c.stride + q / c.kernel - c.padding, column * c.stride + q % c.kernel - c.padding);
          z += term, sum += std::fabs(term);
        }
      const double r = c.residual ? p.residual.data[index_of(p.y_view(), n, k, row, column)] : 0.0;
      y.push_back(c.relu ? std::max(0.0, z + r) : z + r);
      magnitude.push_back(sum + std::fabs(r));
    });
  }
  std::vector<double> y, magnitude;
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

/// Every padding lane of y was written, and with zero.
inline void expect_zero_padding(const Problem& p) {
  int64_t wrong = 0;
  for (int64_t n = 0; n < p.spec.samples; ++n)
    for (int64_t c = p.spec.out_channels; c < p.pk; ++c)
      for (int64_t i = 0; i < p.oh * p.ow; ++i)
        wrong += p.y.data[index_of(p.y_view(), n, c, i / p.ow, i % p.ow)] == 0.0F ? 0 : 1;
  EXPECT_EQ(wrong, 0) << print(p.spec);
}

/// The sums of `block` against the values that `p` now holds. f32 over at most 16 terms, then double: 15 * 2^-24 of sum |y|.
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

/// `run(problem, sums)` on every instruction set and case: the sums are those of the stored values, for both ways to observe.
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

/// A NaN bias and an infinite one: kept, counted, and the NaN wins its maximum. Needs more than 20 output channels.
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

}  // namespace elek::kernels::conv_case
