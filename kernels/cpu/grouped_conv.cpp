// SPDX-License-Identifier: Apache-2.0
// See grouped_conv.h. One function walks over the window's places that lie inside the image; the three computations differ only
// in what they do there.
// Tests: tests/kernels/grouped_conv_test.cpp
#include "kernels/cpu/grouped_conv.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"

namespace elek::kernels::cpu {
namespace {

/// The parts of two views that the loops need: x and y of one convolution.
struct Sizes {
  GroupedConv conv;
  Geometry x, y;
  ImageShape in, out;
  int64_t inputs;   // channels of x in a group
  int64_t outputs;  // channels of y in a group

  template <typename X, typename Y>
  Sizes(const GroupedConv& c, const X& xv, const Y& yv)
      : conv(c), x(xv), y(yv), in(xv.shape), out(yv.shape), inputs(in.channels / c.groups), outputs(out.channels / c.groups) {
    check_view(xv, "grouped_conv", "x");
    check_view(yv, "grouped_conv", "y");
    ELEK_CHECK(channel_block(xv.layout) >= 8 && xv.layout == yv.layout, "grouped_conv: wants one blocked layout, got " +
                                                                            std::string(name_of(xv.layout)) + " and " +
                                                                            std::string(name_of(yv.layout)));
    const ImageShape slid = c.window.slide(in);
    ELEK_CHECK(c.groups > 0 && in.channels % c.groups == 0 && out.channels % c.groups == 0 && xv.samples == yv.samples &&
                   is_possible(c.window) && out.height == slid.height && out.width == slid.width,
               "grouped_conv: " + to_string(out) + " does not follow from " + to_string(in) + " and " +
                   std::to_string(c.groups) + " groups");
  }
  [[nodiscard]] bool depthwise() const { return inputs == 1 && outputs == 1; }
};

/// Calls f(offset in x, offset in y) for each output of one plane whose tap (r, s) lies inside the image. Offsets count from
/// the planes' first elements.
template <typename F>
void for_tap(const Sizes& z, int64_t r, int64_t s, const F& f) {
  const Window& c = z.conv.window;
  for (int64_t p = 0; p < z.out.height; ++p) {
    const int64_t h = p * c.stride.height - c.padding.top + r * c.dilation.height;
    if (h < 0 || h >= z.in.height) continue;
    for (int64_t q = 0; q < z.out.width; ++q) {
      const int64_t w = q * c.stride.width - c.padding.left + s * c.dilation.width;
      if (w >= 0 && w < z.in.width) f((h * z.in.width + w) * z.x.row_stride, (p * z.out.width + q) * z.y.row_stride);
    }
  }
}

template <typename F>
void for_taps(const Sizes& z, const F& f) {
  const Extent& kernel = z.conv.window.kernel;
  for (int64_t r = 0; r < kernel.height; ++r)
    for (int64_t s = 0; s < kernel.width; ++s) f(r, s, r * kernel.width + s);
}

/// Calls f(sample, k) for each output channel, or f(sample, first k of a block) for depthwise convolutions.
template <typename F>
void for_channels(const Sizes& z, int threads, const F& f) {
  const int64_t step = z.depthwise() ? z.y.block : 1, each = (z.out.channels + step - 1) / step;
  for_ranges(z.y.samples * each, parts_for(z.y.elements(), threads, 1 << 16), [&](int64_t i) { f(i / each, i % each * step); });
}

/// Weights of one tap for the lanes of a block: w of channel first + lane, zero for padding.
void load_taps(const Sizes& z, const float* w, int64_t first, int64_t tap, float* to) {
  const int64_t taps = z.conv.window.kernel.area();
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    to[lane] = lane < z.y.block && first + lane < z.out.channels ? w[(first + lane) * taps + tap] : 0.0F;
  }
}

void fill_bias(const Sizes& z, const float* bias, const Gradients& y, int threads) {
  for_ranges(z.y.tasks(), parts_for(z.y.elements(), threads, 1 << 16), [&](int64_t task) {
    const int64_t block = task % z.y.blocks;
    float* to = y.data + z.y.base(task / z.y.blocks, block);
    for (int64_t i = 0; i < z.y.positions; ++i, to += z.y.row_stride)
      for (int lane = 0; lane < z.y.width(block); ++lane) {
        to[lane] = bias != nullptr && lane < z.y.valid(block) ? bias[block * z.y.block + lane] : 0.0F;
      }
  });
}

}  // namespace

void grouped_conv(const GroupedConv& conv, const Values& x, const float* w, const float* bias, const Gradients& y,
                  int threads) {
  const Sizes z(conv, x, y);
  const int64_t taps = conv.window.kernel.area();
  fill_bias(z, bias, y, threads);
  for_channels(z, threads, [&](int64_t n, int64_t k) {
    float* const to = y.data + z.y.channel_base(n, k);
    if (z.depthwise()) {
      const float* const from = x.data + z.x.channel_base(n, k);
      const int width = z.y.width(k / z.y.block);
      for_taps(z, [&](int64_t r, int64_t s, int64_t tap) {
        float weights[kLanes];
        load_taps(z, w, k, tap, weights);
        for_tap(z, r, s, [&](int64_t i, int64_t o) {
          for (int lane = 0; lane < width; ++lane) to[o + lane] += weights[lane] * from[i + lane];
        });
      });
      return;
    }
    for (int64_t c = 0; c < z.inputs; ++c) {
      const float* const from = x.data + z.x.channel_base(n, k / z.outputs * z.inputs + c);
      for_taps(z, [&](int64_t r, int64_t s, int64_t tap) {
        const float weight = w[(k * z.inputs + c) * taps + tap];
        for_tap(z, r, s, [&](int64_t i, int64_t o) { to[o] += weight * from[i]; });
      });
    }
  });
}

void grouped_input_gradient(const GroupedConv& conv, const Values& g, const float* w, const Gradients& dx, bool add,
                            int threads) {
  const Sizes z(conv, dx, g);
  const int64_t taps = conv.window.kernel.area();
  const int64_t step = z.depthwise() ? z.x.block : 1, each = (z.in.channels + step - 1) / step;
  if (!add) std::fill_n(dx.data, z.x.elements(), 0.0F);
  for_ranges(z.x.samples * each, parts_for(z.x.elements(), threads, 1 << 16), [&](int64_t item) {
    const int64_t n = item / each, c = item % each * step;
    float* const to = dx.data + z.x.channel_base(n, c);
    if (z.depthwise()) {
      const float* const from = g.data + z.y.channel_base(n, c);
      const int width = z.x.width(c / z.x.block);
      for_taps(z, [&](int64_t r, int64_t s, int64_t tap) {
        float weights[kLanes];
        load_taps(z, w, c, tap, weights);
        for_tap(z, r, s, [&](int64_t i, int64_t o) {
          for (int lane = 0; lane < width; ++lane) to[i + lane] += weights[lane] * from[o + lane];
        });
      });
      return;
    }
    const int64_t first = c / z.inputs * z.outputs;
    for (int64_t k = first; k < first + z.outputs; ++k) {
      const float* const from = g.data + z.y.channel_base(n, k);
      for_taps(z, [&](int64_t r, int64_t s, int64_t tap) {
        const float weight = w[(k * z.inputs + c % z.inputs) * taps + tap];
        for_tap(z, r, s, [&](int64_t i, int64_t o) { to[i] += weight * from[o]; });
      });
    }
  });
}

void grouped_weight_gradient(const GroupedConv& conv, const Values& x, const Values& g, float* dw, bool add, int threads) {
  const Sizes z(conv, x, g);
  const int64_t taps = conv.window.kernel.area();
  for_ranges(z.out.channels, parts_for(z.y.elements(), threads, 1 << 16), [&](int64_t k) {
    for (int64_t c = 0; c < z.inputs; ++c)
      for_taps(z, [&](int64_t r, int64_t s, int64_t tap) {
        double sum = 0;
        for (int64_t n = 0; n < z.y.samples; ++n) {
          const float* const from = x.data + z.x.channel_base(n, k / z.outputs * z.inputs + c);
          const float* const gradient = g.data + z.y.channel_base(n, k);
          for_tap(z, r, s, [&](int64_t i, int64_t o) { sum += double{from[i]} * double{gradient[o]}; });
        }
        float& to = dw[(k * z.inputs + c) * taps + tap];
        to = static_cast<float>(add ? double{to} + sum : sum);
      });
  });
}

}  // namespace elek::kernels::cpu
