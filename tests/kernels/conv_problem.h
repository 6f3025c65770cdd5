// SPDX-License-Identifier: Apache-2.0
// A convolution problem for kernels that compute one themselves (winograd, gemm_conv): random or integer data in a blocked
// layout, and the direct convolution in double with the magnitudes that error bounds need. Elements that a kernel must write or
// must not read are poisoned (NaN). Uses no test framework, because bench/kernels_bench.cpp checks with it before it measures.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/runtime.h"
#include "elek/window.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu::conv_case {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Shape {
  int64_t samples, channels, out_channels, height, width;
  Extent kernel, stride;
  Padding padding;
  Layout layout;
  int threads;
  bool residual, relu;
  Extent dilation = 1;
  int64_t groups = 1;
  [[nodiscard]] Window window() const { return {kernel, stride, padding, dilation}; }
  [[nodiscard]] ImageShape input() const { return {channels, height, width}; }
};

inline std::string print(const Shape& c) {
  return "n" + std::to_string(c.samples) + " c" + std::to_string(c.channels) + " k" + std::to_string(c.out_channels) + " h" +
         std::to_string(c.height) + " w" + std::to_string(c.width) + " " + to_string(c.window()) + " " +
         std::string(name_of(c.layout)) + " threads" + std::to_string(c.threads) + (c.residual ? " residual" : "") +
         (c.relu ? " relu" : "") + (c.groups > 1 ? " groups" + std::to_string(c.groups) : "");
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
        oh(c.window().slide(c.input()).height),
        ow(c.window().slide(c.input()).width),
        pc(padded_channels(c.layout, c.channels)),
        pk(padded_channels(c.layout, c.out_channels)),
        x(static_cast<size_t>(c.samples * pc * c.height * c.width), 0.0F),
        y(static_cast<size_t>(c.samples * pk * oh * ow), kNan),
        residual(static_cast<size_t>(c.samples * pk * oh * ow), 0.0F),
        bias(static_cast<size_t>(pk), 0.0F),
        w(static_cast<size_t>(c.out_channels * c.channels / c.groups * c.kernel.area())) {
    Random random(seed);
    const auto draw = [&] {
      return integers ? static_cast<float>(random.below(7)) - 3.0F : static_cast<float>(random.normal());
    };
    for (float& value : w) value = draw();
    for (int64_t k = 0; k < c.out_channels; ++k) bias.data[k] = draw() + static_cast<float>(k % 5);  // finds swapped channels
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

/// One output of the direct convolution in double; `magnitude` is the same with every term's absolute value.
struct DirectValue {
  double y, magnitude;
};
inline DirectValue direct_at(const Problem& p, int64_t n, int64_t k, int64_t row, int64_t column) {
  const Shape& c = p.spec;
  const int64_t taps = c.kernel.area(), inputs = c.channels / c.groups, first = k / (c.out_channels / c.groups) * inputs;
  double z = p.bias.data[k], sum = std::fabs(z);
  for (int64_t ch = 0; ch < inputs; ++ch)
    for (int64_t q = 0; q < taps; ++q) {
      const int64_t h = row * c.stride.height - c.padding.top + q / c.kernel.width * c.dilation.height;
      const int64_t w = column * c.stride.width - c.padding.left + q % c.kernel.width * c.dilation.width;
      const double term =
          static_cast<double>(p.w[static_cast<size_t>((k * inputs + ch) * taps + q)]) * p.input(n, first + ch, h, w);
      z += term, sum += std::fabs(term);
    }
  const double r = c.residual ? p.residual.data[index_of(p.y_view(), n, k, row, column)] : 0.0;
  return {c.relu ? std::max(0.0, z + r) : z + r, sum + std::fabs(r)};
}

/// All outputs, [n][k][oh][ow].
struct Direct {
  explicit Direct(const Problem& p) {
    p.each_output([&](int64_t n, int64_t k, int64_t row, int64_t column, size_t) {
      const DirectValue v = direct_at(p, n, k, row, column);
      y.push_back(v.y), magnitude.push_back(v.magnitude);
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

}  // namespace elek::kernels::cpu::conv_case
