// SPDX-License-Identifier: Apache-2.0
// See pool.h. A vector is up to 16 channels of one position. NCHW is computed without vectors, which is slow, but sessions use
// blocked layouts. Positions outside the image are skipped, which equals padding with -infinity or 0.
#include "kernels/cpu/pool.h"

#include <string>
#include <type_traits>

#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/targets.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/stored_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/pool.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/error.h"
#include "kernels/cpu/detail/stored-inl.h"

#ifndef ELEK_KERNELS_CPU_POOL_JOB
#define ELEK_KERNELS_CPU_POOL_JOB
namespace elek::kernels::cpu {
template <typename T>
struct PoolJob {
  const T* x;  // position 0, lane 0 of one task
  T* y;        // column 0 of one output row of that task
  int64_t x_stride, y_stride;
  int64_t height, width, out_width;  // height and width of x, width of y
  int64_t row;                       // row of y
  PoolWindow window;
  int lanes;
  bool maximum;
};
}  // namespace elek::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Maximum, or sum, of `rows` x `columns` positions from `at` on. NaN wins a maximum. The hardware's maximum may lose a NaN, so
/// a separate mask records NaNs: half the work of a comparison before each maximum.
template <bool kMax, class D, typename T, class Count>
HWY_INLINE hn::Vec<D> reduce_window(D d, const T* at, Count rows, Count columns, int64_t row_stride, int64_t stride) {
  auto kept = kMax ? load_stored(d, at) : hn::Zero(d);
  auto unordered = hn::IsNaN(kept);
  for (int64_t h = 0; h < rows; ++h) {
    for (int64_t w = 0; w < columns; ++w) {
      const auto v = load_stored(d, at + h * row_stride + w * stride);
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
HWY_INLINE void pool_lanes(D d, const PoolJob<T>& j, int lane) {
  using V = hn::Vec<D>;
  using Three = std::integral_constant<int64_t, 3>;  // the pooling of ResNets, inside the image: unrolled
  const PoolWindow& window = j.window;
  const Extent kernel = window.kernel;
  const int64_t top = j.row * window.stride.height - window.padding.top;
  const int64_t h0 = HWY_MAX(top, 0), h1 = HWY_MIN(top + kernel.height, j.height);
  const int64_t rows = window.counts_padding ? HWY_MIN(top + kernel.height, j.height + window.padding.bottom) - top : h1 - h0;
  for (int64_t q = 0; q < j.out_width; ++q) {
    const int64_t left = q * window.stride.width - window.padding.left;
    const int64_t w0 = HWY_MAX(left, 0), w1 = HWY_MIN(left + kernel.width, j.width);
    const T* const at = j.x + (h0 * j.width + w0) * j.x_stride + lane;
    const V kept = h1 - h0 == 3 && w1 - w0 == 3
                       ? reduce_window<kMax>(d, at, Three(), Three(), j.width * j.x_stride, j.x_stride)
                       : reduce_window<kMax>(d, at, h1 - h0, w1 - w0, j.width * j.x_stride, j.x_stride);
    V result = kept;
    if constexpr (!kMax) {
      const int64_t columns =
          window.counts_padding ? HWY_MIN(left + kernel.width, j.width + window.padding.right) - left : w1 - w0;
      result = hn::Div(kept, hn::Set(d, static_cast<float>(rows * columns)));
    }
    store_rounded(rounded_to<T>(d, result), d, j.y + q * j.y_stride + lane);
  }
}

template <bool kMax, typename T>
HWY_INLINE void pool_row(const PoolJob<T>& j) {
  const hn::CappedTag<float, kLanes> wide;
  const hn::CappedTag<float, kLanes / 2> half;
  const hn::CappedTag<float, 1> one;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)())),
                kHalf = static_cast<int>(hn::MaxLanes(decltype(half)()));
  int lane = 0;
  for (; lane + kWide <= j.lanes; lane += kWide) pool_lanes<kMax>(wide, j, lane);
  for (; lane + kHalf <= j.lanes; lane += kHalf) pool_lanes<kMax>(half, j, lane);
  for (; lane < j.lanes; ++lane) pool_lanes<kMax>(one, j, lane);
}

#define ELEK_POOL(T, suffix, dtype) \
  void pool_##suffix(const PoolJob<T>& j) { j.maximum ? pool_row<true>(j) : pool_row<false>(j); }
ELEK_STORED_TYPES(ELEK_POOL)
ELEK_INTEGER_TYPES(ELEK_POOL)
#undef ELEK_POOL

/// out[0 … width) += sums over rows, in double.
template <typename T>
HWY_INLINE void sum_rows_of(const T* HWY_RESTRICT x, int64_t rows, int64_t stride, int width, double* HWY_RESTRICT out) {
  const hn::CappedTag<double, kLanes / 2> wide;
  const hn::CappedTag<double, 1> one;
  const hn::Rebind<float, decltype(wide)> wide_f32;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)()));
  int lane = 0;
  for (; lane + kWide <= width; lane += kWide) {
    auto even = hn::LoadU(wide, out + lane), odd = hn::Zero(wide);
    int64_t r = 0;
    for (; r + 2 <= rows; r += 2) {
      even = hn::Add(even, hn::PromoteTo(wide, load_stored(wide_f32, x + r * stride + lane)));
      odd = hn::Add(odd, hn::PromoteTo(wide, load_stored(wide_f32, x + (r + 1) * stride + lane)));
    }
    if (r < rows) even = hn::Add(even, hn::PromoteTo(wide, load_stored(wide_f32, x + r * stride + lane)));
    hn::StoreU(hn::Add(even, odd), wide, out + lane);
  }
  for (; lane < width; ++lane) {
    auto sum = hn::LoadU(one, out + lane);
    for (int64_t r = 0; r < rows; ++r) {
      sum = hn::Add(sum, hn::PromoteTo(one, load_stored(hn::Rebind<float, decltype(one)>(), x + r * stride + lane)));
    }
    hn::StoreU(sum, one, out + lane);
  }
}

#define ELEK_SUM_ROWS(T, suffix, dtype)                                                      \
  void sum_rows_##suffix(const T* x, int64_t rows, int64_t stride, int width, double* out) { \
    sum_rows_of(x, rows, stride, width, out);                                                \
  }
ELEK_STORED_TYPES(ELEK_SUM_ROWS)
#undef ELEK_SUM_ROWS

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

#define ELEK_RUN(T, suffix, dtype) \
  HWY_EXPORT(pool_##suffix);       \
  void run_pool(const PoolJob<T>& job) { HWY_DYNAMIC_DISPATCH(pool_##suffix)(job); }
ELEK_STORED_TYPES(ELEK_RUN)
ELEK_INTEGER_TYPES(ELEK_RUN)
#undef ELEK_RUN
#define ELEK_RUN(T, suffix, dtype)                                                  \
  HWY_EXPORT(sum_rows_##suffix);                                                    \
  void sum_rows(const T* x, int64_t rows, int64_t stride, int width, double* out) { \
    HWY_DYNAMIC_DISPATCH(sum_rows_##suffix)(x, rows, stride, width, out);           \
  }
ELEK_STORED_TYPES(ELEK_RUN)
#undef ELEK_RUN

/// Lanes of block b that x and y both have in memory. Further lanes of y are padding.
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
  check_pool_window(x.shape, y.shape, window, op);
  // If y has one position, Geometry treats its NCHW like NHWC (walk.h); x may have more. So NCHW has its own code here.
  const Geometry gx(x), gy(y);
  const bool planes = x.layout == Layout::kNchw;
  const bool pixel_rows =
      x.layout == Layout::kNhwc;  // all blocks of a row, while it is in the cache; otherwise all rows of a block
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
  if constexpr (std::is_integral_v<T>) {
    ELEK_CHECK(sums == nullptr, std::string(op) + ": integers are not summed");
  } else {
    if (sums != nullptr) observe(y, *sums, threads);
  }
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
    while (walk.next(piece)) {  // each piece is a whole task
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

#define ELEK_INSTANTIATE(T, suffix, dtype)                                                                                \
  template void max_pool(const ActivationView<T>&, const ActivationView<T>&, const PoolWindow&, const ChannelSums*, int); \
  template void avg_pool(const ActivationView<T>&, const ActivationView<T>&, const PoolWindow&, const ChannelSums*, int); \
  template void global_avg_pool(const ActivationView<T>&, const ActivationView<T>&, const ChannelSums*, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE
#define ELEK_INSTANTIATE(T, suffix, dtype) \
  template void max_pool(const ActivationView<T>&, const ActivationView<T>&, const PoolWindow&, const ChannelSums*, int);
ELEK_INTEGER_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
