// SPDX-License-Identifier: Apache-2.0
// See pool.h. A vector is up to 16 channels of one position; in NCHW a lane is one position (plain, slow: the blocked layouts
// are what sessions use). Positions outside the image are skipped, which is what padding with -infinity or 0 means.
#include "kernels/cpu/pool.h"

#include <string>
#include <type_traits>

#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/targets.h"
#include "kernels/cpu/walk.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/stored-inl.h"

#ifndef ELEK_KERNELS_CPU_POOL_JOB
#define ELEK_KERNELS_CPU_POOL_JOB
namespace elek::kernels::cpu {
template <typename T>
struct PoolJob {
  const T* x;  // position 0, lane 0 of one task
  T* y;        // column 0 of one output row of that task
  int64_t x_stride, y_stride;
  int64_t height, width, out_width;  // of x; of y
  int64_t row;                       // of y
  PoolWindow window;
  int lanes;
  bool maximum;
};
}  // namespace elek::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Maximum, or sum, of `rows` x `columns` positions from `at` on. A NaN wins a maximum: the hardware's may drop one, so they
/// are remembered apart, which is half the work of asking before each choice.
template <bool kMax, class D, typename T, class Count>
HWY_INLINE hn::Vec<D> Window(D d, const T* at, Count rows, Count columns, int64_t row_stride, int64_t stride) {
  auto kept = kMax ? LoadStored(d, at) : hn::Zero(d);
  auto unordered = hn::IsNaN(kept);
  for (int64_t h = 0; h < rows; ++h) {
    for (int64_t w = 0; w < columns; ++w) {
      const auto v = LoadStored(d, at + h * row_stride + w * stride);
      if constexpr (kMax) {
        kept = hn::Max(kept, v);
        unordered = hn::Or(unordered, hn::IsNaN(v));
      } else {
        kept = hn::Add(kept, v);
      }
    }
  }
  return kMax ? hn::IfThenElse(unordered, hn::NaN(d), kept) : kept;
}

template <bool kMax, class D, typename T>
HWY_INLINE void PoolLanes(D d, const PoolJob<T>& j, int lane) {
  using V = hn::Vec<D>;
  using Three = std::integral_constant<int64_t, 3>;  // ResNet's pool, inside the image: unrolled
  const int64_t top = j.row * j.window.stride - j.window.padding;
  const int64_t h0 = HWY_MAX(top, 0), h1 = HWY_MIN(top + j.window.kernel, j.height);
  const V divisor = hn::Set(d, static_cast<float>(j.window.kernel * j.window.kernel));
  for (int64_t q = 0; q < j.out_width; ++q) {
    const int64_t left = q * j.window.stride - j.window.padding;
    const int64_t w0 = HWY_MAX(left, 0), w1 = HWY_MIN(left + j.window.kernel, j.width);
    const T* const at = j.x + (h0 * j.width + w0) * j.x_stride + lane;
    const V kept = h1 - h0 == 3 && w1 - w0 == 3 ? Window<kMax>(d, at, Three(), Three(), j.width * j.x_stride, j.x_stride)
                                                : Window<kMax>(d, at, h1 - h0, w1 - w0, j.width * j.x_stride, j.x_stride);
    StoreRounded(RoundedTo<T>(d, kMax ? kept : hn::Div(kept, divisor)), d, j.y + q * j.y_stride + lane);
  }
}

template <bool kMax, typename T>
HWY_INLINE void PoolRow(const PoolJob<T>& j) {
  const hn::CappedTag<float, kLanes> wide;
  const hn::CappedTag<float, kLanes / 2> half;
  const hn::CappedTag<float, 1> one;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)())),
                kHalf = static_cast<int>(hn::MaxLanes(decltype(half)()));
  int lane = 0;
  for (; lane + kWide <= j.lanes; lane += kWide) PoolLanes<kMax>(wide, j, lane);
  for (; lane + kHalf <= j.lanes; lane += kHalf) PoolLanes<kMax>(half, j, lane);
  for (; lane < j.lanes; ++lane) PoolLanes<kMax>(one, j, lane);
}

void Pool(const PoolJob<float>& j) { j.maximum ? PoolRow<true>(j) : PoolRow<false>(j); }
void PoolBf16(const PoolJob<BFloat16>& j) { j.maximum ? PoolRow<true>(j) : PoolRow<false>(j); }

/// out[0 … width) += sums over rows, in double.
template <typename T>
HWY_INLINE void SumRowsOf(const T* HWY_RESTRICT x, int64_t rows, int64_t stride, int width, double* HWY_RESTRICT out) {
  const hn::CappedTag<double, kLanes / 2> wide;
  const hn::CappedTag<double, 1> one;
  const hn::Rebind<float, decltype(wide)> wide_f32;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)()));
  int lane = 0;
  for (; lane + kWide <= width; lane += kWide) {
    auto even = hn::LoadU(wide, out + lane), odd = hn::Zero(wide);
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2) {
      even = hn::Add(even, hn::PromoteTo(wide, LoadStored(wide_f32, x + r * stride + lane)));
      odd = hn::Add(odd, hn::PromoteTo(wide, LoadStored(wide_f32, x + (r + 1) * stride + lane)));
    }
    if (r < rows) even = hn::Add(even, hn::PromoteTo(wide, LoadStored(wide_f32, x + r * stride + lane)));
    hn::StoreU(hn::Add(even, odd), wide, out + lane);
  }
  for (; lane < width; ++lane) {
    auto sum = hn::LoadU(one, out + lane);
    for (int64_t r = 0; r < rows; ++r) {
      sum = hn::Add(sum, hn::PromoteTo(one, LoadStored(hn::Rebind<float, decltype(one)>(), x + r * stride + lane)));
    }
    hn::StoreU(sum, one, out + lane);
  }
}

void SumRows(const float* x, int64_t rows, int64_t stride, int width, double* out) { SumRowsOf(x, rows, stride, width, out); }
void SumRowsBf16(const BFloat16* x, int64_t rows, int64_t stride, int width, double* out) {
  SumRowsOf(x, rows, stride, width, out);
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

HWY_EXPORT(Pool);
HWY_EXPORT(PoolBf16);
HWY_EXPORT(SumRows);
HWY_EXPORT(SumRowsBf16);

void run_pool(const PoolJob<float>& job) { HWY_DYNAMIC_DISPATCH(Pool)(job); }
void run_pool(const PoolJob<BFloat16>& job) { HWY_DYNAMIC_DISPATCH(PoolBf16)(job); }
void sum_rows(const float* x, int64_t rows, int64_t stride, int width, double* out) {
  HWY_DYNAMIC_DISPATCH(SumRows)(x, rows, stride, width, out);
}
void sum_rows(const BFloat16* x, int64_t rows, int64_t stride, int width, double* out) {
  HWY_DYNAMIC_DISPATCH(SumRowsBf16)(x, rows, stride, width, out);
}

/// Lanes of block b that x and y both have in memory; beyond them y is padding.
int common_lanes(const Geometry& x, const Geometry& y, int64_t b) {
  return b < x.blocks ? std::min(x.width(b), y.width(b)) : 0;
}

template <typename T>
void check_pair(const ActivationView<T>& x, const ActivationView<T>& y, const char* op) {
  check_view(x, op, "x");
  check_view(y, op, "y");
  ELEK_CHECK(x.samples == y.samples && x.shape.channels == y.shape.channels,
             std::string(op) + ": y is " + std::to_string(y.samples) + " x " + to_string(y.shape) + ", x " +
                 std::to_string(x.samples) + " x " + to_string(x.shape));
}

template <typename T>
void pool(const ActivationView<T>& x, const ActivationView<T>& y, const PoolWindow& window, const ChannelSums* sums,
          int threads, bool maximum) {
  const char* const op = maximum ? "max_pool" : "avg_pool";
  check_pair(x, y, op);
  ELEK_CHECK(x.layout == y.layout,
             std::string(op) + ": y is " + std::string(name_of(y.layout)) + ", expected x's " + std::string(name_of(x.layout)));
  ELEK_CHECK(window.kernel >= 1 && window.stride >= 1 && window.padding >= 0 && window.padding * 2 <= window.kernel,
             std::string(op) + ": kernel " + std::to_string(window.kernel) + " stride " + std::to_string(window.stride) +
                 " padding " + std::to_string(window.padding) +
                 ", expected kernel, stride >= 1 and 0 <= 2 * padding <= kernel");
  const auto extent = [&](int64_t in) { return (in + 2 * window.padding - window.kernel) / window.stride + 1; };
  ELEK_CHECK(std::min(x.shape.height, x.shape.width) + 2 * window.padding >= window.kernel &&
                 y.shape.height == extent(x.shape.height) && y.shape.width == extent(x.shape.width),
             std::string(op) + ": y is " + to_string(y.shape) + ", which does not follow from x " + to_string(x.shape) +
                 " and kernel " + std::to_string(window.kernel) + " stride " + std::to_string(window.stride) + " padding " +
                 std::to_string(window.padding));
  // One output position makes NCHW look like NHWC (walk.h); x must be walked the same way.
  const Geometry gx(x), gy(y);
  const bool planes = x.layout == Layout::kNchw;
  const bool pixel_rows =
      x.layout == Layout::kNhwc;  // all blocks of one row, while it is in the cache; else all rows of a block
  const int64_t blocks = planes ? y.shape.channels : gy.blocks, out_rows = y.samples * blocks * y.shape.height;
  const int parts = parts_for(gx.elements(), threads, 1 << 16);
  for_parts(parts, [&](int part) {
    for (int64_t i = part_begin(out_rows, parts, part, 1); i < part_begin(out_rows, parts, part + 1, 1); ++i) {
      const int64_t n = i / (blocks * y.shape.height), in_sample = i % (blocks * y.shape.height);
      const int64_t b = pixel_rows ? in_sample % blocks : in_sample / y.shape.height;
      const int64_t p = pixel_rows ? in_sample / blocks : in_sample % y.shape.height;
      const int64_t task = n * blocks + b;
      PoolJob<T> job{};
      job.window = window;
      job.maximum = maximum;
      job.row = p;
      job.height = x.shape.height, job.width = x.shape.width, job.out_width = y.shape.width;
      job.x_stride = planes ? 1 : gx.row_stride, job.y_stride = planes ? 1 : gy.row_stride;
      job.x = x.data + (planes ? task * gx.positions : gx.base(n, b));
      job.y = y.data + (planes ? task * gy.positions : gy.base(n, b)) + p * y.shape.width * job.y_stride;
      job.lanes = planes ? 1 : common_lanes(gx, gy, b);
      run_pool(job);
      for (int lane = job.lanes; !planes && lane < gy.width(b); ++lane) {
        for (int64_t q = 0; q < y.shape.width; ++q) job.y[q * job.y_stride + lane] = T();
      }
    }
  });
  if (sums != nullptr) observe(y, *sums, threads);
}

}  // namespace

template <typename T>
void max_pool(const ActivationView<T>& x, const ActivationView<T>& y, const PoolWindow& window, const ChannelSums* sums,
              int threads) {
  pool(x, y, window, sums, threads, true);
}

template <typename T>
void avg_pool(const ActivationView<T>& x, const ActivationView<T>& y, const PoolWindow& window, const ChannelSums* sums,
              int threads) {
  pool(x, y, window, sums, threads, false);
}

template <typename T>
void global_avg_pool(const ActivationView<T>& x, const ActivationView<T>& y, const ChannelSums* sums, int threads) {
  check_pair(x, y, "global_avg_pool");
  ELEK_CHECK(y.shape.height == 1 && y.shape.width == 1,
             "global_avg_pool: y is " + to_string(y.shape) + ", expected one position");
  const Geometry gx(x), gy(y);
  const int64_t total = gx.tasks() * gx.positions;
  const int parts = parts_for(gx.elements(), threads, 1 << 16);
  for_parts(parts, [&](int part) {
    PieceWalk walk(gx, part_begin(total, parts, part, gx.positions), part_begin(total, parts, part + 1, gx.positions));
    Piece piece;
    while (walk.next(piece)) {  // whole tasks
      double lanes[kLanes] = {};
      const T* const at = x.data + piece.offset;
      sum_rows(at, piece.rows, piece.row_stride, piece.width, lanes);
      if (piece.tail > 0) sum_rows(at + piece.rows * kLanes, 1, kLanes, piece.tail, lanes);
      if (piece.one_channel) {
        for (int l = 1; l < kLanes; ++l) lanes[0] += lanes[l];
      }
      for (int l = 0; l < (piece.one_channel ? 1 : piece.valid); ++l) {
        y.data[gy.channel_base(piece.sample, piece.channel + l)] =
            T(static_cast<float>(lanes[l] / static_cast<double>(gx.positions)));
      }
    }
  });
  for (int64_t n = 0; n < y.samples; ++n) {
    for (int64_t c = y.shape.channels; c < gy.pitch; ++c) y.data[gy.channel_base(n, c)] = T();
  }
  if (sums != nullptr) observe(y, *sums, threads);
}

template void max_pool(const ActivationView<float>&, const ActivationView<float>&, const PoolWindow&, const ChannelSums*, int);
template void max_pool(const ActivationView<BFloat16>&, const ActivationView<BFloat16>&, const PoolWindow&, const ChannelSums*,
                       int);
template void avg_pool(const ActivationView<float>&, const ActivationView<float>&, const PoolWindow&, const ChannelSums*, int);
template void avg_pool(const ActivationView<BFloat16>&, const ActivationView<BFloat16>&, const PoolWindow&, const ChannelSums*,
                       int);
template void global_avg_pool(const ActivationView<float>&, const ActivationView<float>&, const ChannelSums*, int);
template void global_avg_pool(const ActivationView<BFloat16>&, const ActivationView<BFloat16>&, const ChannelSums*, int);

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
