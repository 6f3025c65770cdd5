// SPDX-License-Identifier: Apache-2.0
// See backward.h. Threads divide channel blocks (tasks) or elements, so two parts never write the same element.
// Tests: tests/kernels/backward_test.cpp
#include "kernels/cpu/backward.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"

namespace elek::kernels::cpu {
namespace {

/// Calls f(sample, block, offset of its position 0, lanes in memory) for each channel block of v.
template <typename View, typename F>
void for_blocks(const View& v, int threads, const F& f) {
  const Geometry g(v);
  const int parts = parts_for(g.elements(), threads, 1 << 16);
  for_ranges(g.tasks(), parts,
             [&](int64_t task) { f(task / g.blocks, task % g.blocks, g.base(task / g.blocks, task % g.blocks)); });
}

/// Calls f(first, last) for parts of the elements of v.
template <typename View, typename F>
void for_elements(const View& v, int threads, const F& f) {
  const int64_t elements = Geometry(v).elements();
  const int parts = parts_for(elements, threads, 1 << 16);
  for_parts(parts, [&](int part) { f(part_begin(elements, parts, part, 16), part_begin(elements, parts, part + 1, 16)); });
}

/// v[i] = f(i, v[i]) for all elements.
template <typename F>
void change(const Gradients& v, int threads, const F& f) {
  float* const to = v.data;
  for_elements(v, threads, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) to[i] = f(i, to[i]);
  });
}

void clear(const Gradients& v, int threads) {
  change(v, threads, [](int64_t /*i*/, float /*old*/) { return 0.0F; });
}

void check_pair(const Values& a, const Gradients& b, const char* op) {
  check_view(a, op, "the gradient");
  check_view(b, op, "its target");
  ELEK_CHECK(channel_block(a.layout) >= 8 && a.layout == b.layout, std::string(op) + ": wants one blocked layout, got " +
                                                                       std::string(name_of(a.layout)) + " and " +
                                                                       std::string(name_of(b.layout)));
  ELEK_CHECK(a.samples == b.samples,
             std::string(op) + ": " + std::to_string(a.samples) + " samples, expected " + std::to_string(b.samples));
}

}  // namespace

void activation_backward(const Activation& activation, const Values& value, const Gradients& g, int threads) {
  check_pair(value, g, "activation_backward");
  check_same(g, value, "activation_backward", "the value");
  const float *const y = value.data, low = activation.low, high = activation.high, slope = activation.slope;
  switch (activation.kind) {
    case Activation::Kind::kNone:
      return;
    case Activation::Kind::kRelu:  // NaN <= 0 is false: its gradient passes, and the loss is NaN anyway
      return change(g, threads, [y](int64_t i, float d) { return y[i] <= 0 ? 0.0F : d; });
    case Activation::Kind::kClip:
      return change(g, threads, [=](int64_t i, float d) { return y[i] <= low || y[i] >= high ? 0.0F : d; });
    case Activation::Kind::kLeakyRelu:
      return change(g, threads, [=](int64_t i, float d) { return y[i] <= 0 ? slope * d : d; });
    case Activation::Kind::kSigmoid:
      return change(g, threads, [y](int64_t i, float d) { return d * y[i] * (1.0F - y[i]); });
    case Activation::Kind::kHardSwish:
      return change(g, threads, [y](int64_t i, float d) {
        if (y[i] <= -3) return 0.0F;
        return y[i] >= 3 ? d : d * (2.0F * y[i] + 3.0F) / 6.0F;
      });
    case Activation::Kind::kSilu:
      return change(g, threads, [y](int64_t i, float d) {
        if (y[i] < -100) return 0.0F;  // the slope is below f32's range; -infinity times 0 would be NaN
        const float s = 1.0F / (1.0F + std::exp(-y[i]));
        return d * s * (1.0F + y[i] * (1.0F - s));
      });
  }
}

void copy_gradient(const Values& g, const Gradients& dx, bool add, int threads) {
  check_pair(g, dx, "copy_gradient");
  check_same(dx, g, "copy_gradient", "the gradient");
  const float* const from = g.data;
  if (add) return change(dx, threads, [from](int64_t i, float d) { return d + from[i]; });
  change(dx, threads, [from](int64_t i, float /*d*/) { return from[i]; });
}

namespace {

/// dx (+)= factors[lane] * g over the positions of one block.
void scale_block(const Geometry& geometry, int64_t at, const float* factors, const float* g, float* dx, bool add) {
  for (int64_t i = 0; i < geometry.positions; ++i, at += geometry.row_stride)
    for (int64_t lane = 0; lane < geometry.block; ++lane) {
      const float d = factors[lane] * g[at + lane];
      dx[at + lane] = add ? dx[at + lane] + d : d;
    }
}

}  // namespace

void scale_backward(const Values& g, const float* scale, const Gradients& dx, bool add, int threads) {
  check_pair(g, dx, "scale_backward");
  check_same(dx, g, "scale_backward", "the gradient");
  const Geometry geometry(dx);
  for_blocks(dx, threads, [&](int64_t /*n*/, int64_t block, int64_t at) {
    std::array<float, kLanes> factors{};  // zero for padding lanes
    std::copy_n(scale + block * geometry.block, geometry.valid(block), factors.begin());
    scale_block(geometry, at, factors.data(), g.data, dx.data, add);
  });
}

namespace {

/// The rows or columns of a window's place that lie inside the image, and how many lie in the padded image.
struct Span {
  int64_t first, last, padded;
  Span(int64_t start, int64_t kernel, int64_t size, int64_t padding_after)
      : first(std::max<int64_t>(0, start)),
        last(std::min(size, start + kernel)),
        padded(std::min(start + kernel, size + padding_after) - start) {}
};

/// Calls f(place in y, rows, columns) for each place of the window.
template <typename F>
void for_places(const ImageShape& x, const ImageShape& y, const PoolWindow& window, const F& f) {
  const Extent &kernel = window.kernel, &stride = window.stride;
  const Padding& padding = window.padding;
  for (int64_t p = 0; p < y.height; ++p)
    for (int64_t q = 0; q < y.width; ++q) {
      f(p * y.width + q, Span(p * stride.height - padding.top, kernel.height, x.height, padding.bottom),
        Span(q * stride.width - padding.left, kernel.width, x.width, padding.right));
    }
}

}  // namespace

void max_pool_backward(const Values& x, const Values& g, const Gradients& dx, const PoolWindow& window, bool add, int threads) {
  check_pair(g, dx, "max_pool_backward");
  check_same(dx, x, "max_pool_backward", "x");
  check_pool_window(x.shape, g.shape, window, "max_pool_backward");
  if (!add) clear(dx, threads);
  const Geometry gx(dx), gy(g);
  for_blocks(dx, threads, [&](int64_t n, int64_t block, int64_t at) {
    const int width = gx.width(block);
    const float* const from = g.data + gy.base(n, block);
    for_places(x.shape, g.shape, window, [&](int64_t place, const Span& rows, const Span& columns) {
      std::array<float, kLanes> most{};
      std::array<int64_t, kLanes> where{};
      for (int64_t h = rows.first; h < rows.last; ++h)
        for (int64_t w = columns.first; w < columns.last; ++w) {
          const int64_t pixel = at + (h * x.shape.width + w) * gx.row_stride;
          const bool first = h == rows.first && w == columns.first;
          for (size_t lane = 0; lane < static_cast<size_t>(width); ++lane) {
            const float value = x.data[pixel + static_cast<int64_t>(lane)];
            if (first || value > most[lane] || (std::isnan(value) && !std::isnan(most[lane]))) {
              most[lane] = value;
              where[lane] = pixel;
            }
          }
        }
      for (int lane = 0; lane < width; ++lane) {
        dx.data[where[static_cast<size_t>(lane)] + lane] += from[place * gy.row_stride + lane];
      }
    });
  });
}

void avg_pool_backward(const Values& g, const Gradients& dx, const PoolWindow& window, bool add, int threads) {
  check_pair(g, dx, "avg_pool_backward");
  check_pool_window(dx.shape, g.shape, window, "avg_pool_backward");
  if (!add) clear(dx, threads);
  const Geometry gx(dx), gy(g);
  for_blocks(dx, threads, [&](int64_t n, int64_t block, int64_t at) {
    const int width = gx.width(block);
    const float* const from = g.data + gy.base(n, block);
    for_places(dx.shape, g.shape, window, [&](int64_t place, const Span& rows, const Span& columns) {
      const int64_t inside = (rows.last - rows.first) * (columns.last - columns.first);
      const float share = 1.0F / static_cast<float>(window.counts_padding ? rows.padded * columns.padded : inside);
      for (int64_t h = rows.first; h < rows.last; ++h)
        for (int64_t w = columns.first; w < columns.last; ++w)
          for (int lane = 0; lane < width; ++lane) {
            dx.data[at + (h * dx.shape.width + w) * gx.row_stride + lane] += share * from[place * gy.row_stride + lane];
          }
    });
  });
}

void global_avg_pool_backward(const Values& g, const Gradients& dx, bool add, int threads) {
  check_pair(g, dx, "global_avg_pool_backward");
  const Geometry gx(dx), gy(g);
  const float share = 1.0F / static_cast<float>(gx.positions);
  for_blocks(dx, threads, [&](int64_t n, int64_t block, int64_t at) {
    const float* const from = g.data + gy.base(n, block);
    for (int64_t i = 0; i < gx.positions; ++i, at += gx.row_stride)
      for (int lane = 0; lane < gx.width(block); ++lane) {
        const float d = share * from[lane];
        dx.data[at + lane] = add ? dx.data[at + lane] + d : d;
      }
  });
}

void channel_map_backward(const Values& g, std::span<const int32_t> source, int64_t stride, const Gradients& dx, bool add,
                          int threads) {
  check_pair(g, dx, "channel_map_backward");
  ELEK_CHECK(std::ssize(source) == g.shape.channels, "channel_map_backward: a table of " + std::to_string(source.size()) +
                                                         " sources for " + std::to_string(g.shape.channels) + " channels");
  if (!add) clear(dx, threads);
  const Geometry gx(dx), gy(g);
  for_ranges(g.samples, parts_for(gy.elements(), threads, 1 << 16), [&](int64_t n) {
    for (int64_t d = 0; d < g.shape.channels; ++d) {
      const int32_t s = source[static_cast<size_t>(d)];
      if (s < 0) continue;
      const float* const from = g.data + gy.channel_base(n, d);
      float* const to = dx.data + gx.channel_base(n, s);
      for (int64_t p = 0; p < g.shape.height; ++p)
        for (int64_t q = 0; q < g.shape.width; ++q) {
          to[(p * stride * dx.shape.width + q * stride) * gx.row_stride] += from[(p * g.shape.width + q) * gy.row_stride];
        }
    }
  });
}

void concat_part_backward(const Values& g, int64_t first, const Gradients& dx, bool add, int threads) {
  check_pair(g, dx, "concat_part_backward");
  ELEK_CHECK(first >= 0 && first + dx.shape.channels <= g.shape.channels && dx.shape.positions() == g.shape.positions(),
             "concat_part_backward: channels " + std::to_string(first) + " on of " + to_string(g.shape) + " for " +
                 to_string(dx.shape));
  const Geometry gx(dx), gy(g);
  for_blocks(dx, threads, [&](int64_t n, int64_t block, int64_t at) {
    for (int64_t lane = 0; lane < gx.block; ++lane) {
      float* to = dx.data + at + lane;
      const bool padding = lane >= gx.valid(block);
      const float* from = g.data + (padding ? 0 : gy.channel_base(n, first + block * gx.block + lane));
      for (int64_t i = 0; i < gx.positions; ++i, to += gx.row_stride, from += gy.row_stride) {
        const float d = padding ? 0.0F : *from;
        *to = add ? *to + d : d;
      }
    }
  });
}

void channel_scale_backward_x(const Values& g, const Values& s, const Gradients& dx, bool add, int threads) {
  check_pair(g, dx, "channel_scale_backward");
  check_same(dx, g, "channel_scale_backward", "the gradient");
  const Geometry gx(dx), gs(s);
  for_blocks(dx, threads, [&](int64_t n, int64_t block, int64_t at) {
    scale_block(gx, at, s.data + gs.base(n, block), g.data, dx.data, add);
  });
}

void channel_scale_backward_s(const Values& g, const Values& x, const Gradients& ds, bool add, int threads) {
  check_pair(g, ds, "channel_scale_backward");
  check_same(g, x, "channel_scale_backward", "x");
  const Geometry gx(x), gs(ds);
  for_blocks(x, threads, [&](int64_t n, int64_t block, int64_t at) {
    std::array<double, kLanes> sums{};
    for (int64_t i = 0; i < gx.positions; ++i, at += gx.row_stride)
      for (int lane = 0; lane < gx.width(block); ++lane) {
        sums[static_cast<size_t>(lane)] += double{g.data[at + lane]} * double{x.data[at + lane]};
      }
    float* const to = ds.data + gs.base(n, block);
    for (int lane = 0; lane < gx.width(block); ++lane) {
      const auto d = static_cast<float>(sums[static_cast<size_t>(lane)]);
      to[lane] = add ? to[lane] + d : d;
    }
  });
}

namespace {

/// Calls f(offset in the image, offset in the vector) for each element of each sample.
template <typename Image, typename Vector, typename F>
void for_flat(const Image& image, const Vector& vector, int threads, const F& f) {
  ELEK_CHECK(
      vector.shape.channels == image.shape.elements() && vector.shape.positions() == 1 && vector.samples == image.samples,
      "flatten: " + to_string(vector.shape) + " is not the vector of " + to_string(image.shape));
  const Geometry gi(image), gv(vector);
  for_ranges(image.samples, parts_for(gi.elements(), threads, 1 << 16), [&](int64_t n) {
    for (int64_t c = 0; c < image.shape.channels; ++c)
      for (int64_t i = 0; i < gi.positions; ++i) {
        f(gi.channel_base(n, c) + i * gi.row_stride, gv.channel_base(n, c * gi.positions + i));
      }
  });
}

}  // namespace

void flatten(const Values& x, const Gradients& y, int threads) {
  check_pair(x, y, "flatten");
  clear(y, threads);  // its padding lanes
  for_flat(x, y, threads, [&](int64_t image, int64_t vector) { y.data[vector] = x.data[image]; });
}

void flatten_backward(const Values& g, const Gradients& dx, bool add, int threads) {
  check_pair(g, dx, "flatten_backward");
  if (!add) clear(dx, threads);
  for_flat(dx, g, threads, [&](int64_t image, int64_t vector) { dx.data[image] += g.data[vector]; });
}

void spread(const Values& g, const Extent& stride, const Gradients& to, int threads) {
  check_pair(g, to, "spread");
  ELEK_CHECK(g.shape.channels == to.shape.channels && (g.shape.height - 1) * stride.height < to.shape.height &&
                 (g.shape.width - 1) * stride.width < to.shape.width && g.layout == to.layout,
             "spread: " + to_string(g.shape) + " at stride " + to_string(stride) + " does not fit into " + to_string(to.shape));
  clear(to, threads);
  const Geometry from(g), target(to);
  for_blocks(g, threads, [&](int64_t n, int64_t block, int64_t at) {
    float* const out = to.data + target.base(n, block);
    for (int64_t p = 0; p < g.shape.height; ++p)
      for (int64_t q = 0; q < g.shape.width; ++q, at += from.row_stride) {
        std::copy_n(g.data + at, from.width(block),
                    out + (p * stride.height * to.shape.width + q * stride.width) * target.row_stride);
      }
  });
}

}  // namespace elek::kernels::cpu
