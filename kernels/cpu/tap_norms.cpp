// SPDX-License-Identifier: Apache-2.0
// See tap_norms.h. Accumulators per part (thread): [channels / 16][row class][column class][16 lanes] doubles.
#include "kernels/cpu/tap_norms.h"

#include <string>

#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/targets.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/stored_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/tap_norms.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/error.h"
#include "kernels/cpu/detail/flush-inl.h"
#include "kernels/cpu/detail/stored-inl.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// to[0 … Lanes(d)) += sums of squares of `count` vectors `stride` elements apart.
template <class D, typename T>
HWY_INLINE void squares_of_lanes(D d, const T* HWY_RESTRICT x, int64_t count, int64_t stride, double* HWY_RESTRICT to) {
  using V = hn::Vec<D>;
  constexpr int64_t kChains = 4, kBlock = 8 * kChains;  // 8 terms per chain give the bound of docs/statistics.md
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t end = HWY_MIN(first + kBlock, count);
    V a = hn::Zero(d), b = a, c = a, e = a;
    int64_t i = first;
    const T* at = x + i * stride;
    for (; i + kChains <= end; i += kChains, at += kChains * stride) {
      const V v0 = load_stored(d, at), v1 = load_stored(d, at + stride);
      const V v2 = load_stored(d, at + 2 * stride), v3 = load_stored(d, at + 3 * stride);
      a = hn::MulAdd(v0, v0, a);
      b = hn::MulAdd(v1, v1, b);
      c = hn::MulAdd(v2, v2, c);
      e = hn::MulAdd(v3, v3, e);
    }
    for (int64_t left = 0; i < end; ++i, ++left, at += stride) {  // at most 3: one per chain
      const V v = load_stored(d, at);
      if (left == 0) a = hn::MulAdd(v, v, a);
      if (left == 1) b = hn::MulAdd(v, v, b);
      if (left == 2) c = hn::MulAdd(v, v, c);
    }
    add_to(d, hn::Add(hn::Add(a, b), hn::Add(c, e)), to);
  }
}

template <typename T>
HWY_INLINE void squares_of_run(const T* x, int64_t count, int64_t stride, int width, double* to) {
  const hn::CappedTag<float, kLanes> wide;
  const hn::CappedTag<float, kLanes / 2> half;
  const hn::CappedTag<float, 1> one;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)())),
                kHalf = static_cast<int>(hn::MaxLanes(decltype(half)()));
  int lane = 0;
  for (; lane + kWide <= width; lane += kWide) squares_of_lanes(wide, x + lane, count, stride, to + lane);
  for (; lane + kHalf <= width; lane += kHalf) squares_of_lanes(half, x + lane, count, stride, to + lane);
  for (; lane < width; ++lane) squares_of_lanes(one, x + lane, count, stride, to + lane);
}

/// Row `h` of one task. x: position 0 of the task; `to`: the task's sums [row class][column class][16].
template <typename T>
HWY_INLINE void squares_of_image_row(const TapNormPlan& plan, const T* x, int64_t h, int64_t row_stride, int width, bool planes,
                                     double* to) {
  const int32_t row_class = plan.row_class[static_cast<size_t>(h)];
  if (row_class < 0) return;
  double* const row = to + row_class * static_cast<int64_t>(plan.column_class_taps.size()) * kLanes;
  const T* const line = x + h * plan.input.width * row_stride;
  for (const TapNormPlan::Segment& s : plan.segments) {
    double* const sums = row + int64_t{s.column_class} * kLanes;
    const T* const at = line + s.begin * row_stride;
    if (planes && s.step == 1 && s.count >= kLanes) {  // NCHW: neighbours are positions of one channel
      HWY_ALIGN double lanes[kLanes] = {};
      const int64_t vectors = s.count / kLanes;
      squares_of_run(at, vectors, kLanes, kLanes, lanes);
      squares_of_run(at + vectors * kLanes, 1, kLanes, static_cast<int>(s.count % kLanes), lanes);
      for (const double each : lanes) sums[0] += each;
    } else {
      squares_of_run(at, s.count, s.step * row_stride, planes ? 1 : width, sums);
    }
  }
}

#define ELEK_SQUARES(T, suffix, dtype)                                                                                \
  void image_row_##suffix(const TapNormPlan& plan, const T* x, int64_t h, int64_t row_stride, int width, bool planes, \
                          double* to) {                                                                               \
    squares_of_image_row(plan, x, h, row_stride, width, planes, to);                                                  \
  }
ELEK_STORED_TYPES(ELEK_SQUARES)
#undef ELEK_SQUARES

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

#define ELEK_RUN(T, suffix, dtype)                                                                                         \
  HWY_EXPORT(image_row_##suffix);                                                                                          \
  void image_row(const TapNormPlan& plan, const T* x, int64_t h, int64_t row_stride, int width, bool planes, double* to) { \
    HWY_DYNAMIC_DISPATCH(image_row_##suffix)(plan, x, h, row_stride, width, planes, to);                                   \
  }
ELEK_STORED_TYPES(ELEK_RUN)
#undef ELEK_RUN

int64_t class_lanes(const TapNormPlan& plan) {  // doubles per block of 16 channels
  return plan.pairs() * kLanes;
}
int64_t channel_blocks(const TapNormPlan& plan) { return (plan.input.channels + kLanes - 1) / kLanes; }
int64_t part_doubles(const TapNormPlan& plan) { return (class_lanes(plan) * channel_blocks(plan) + 15) / 16 * 16; }

}  // namespace

size_t tap_norm_bytes(const TapNormPlan& plan, int threads) {
  ELEK_CHECK(threads >= 1, "tap norms: " + std::to_string(threads) + " threads");
  return static_cast<size_t>(threads) * static_cast<size_t>(part_doubles(plan)) * sizeof(double);
}

template <typename T>
void tap_norms(const ActivationView<T>& x, const TapNormPlan& plan, double* accumulators, int block_threads, int threads) {
  check_view(x, "tap_norms", "x");
  ELEK_CHECK(x.shape == plan.input && accumulators != nullptr && block_threads >= 1,
             "tap_norms: x is " + to_string(x.shape) + ", the plan is for " + to_string(plan.input));
  const Geometry g(x);
  const int64_t rows = g.tasks() * x.shape.height;
  const int parts = parts_for(g.elements(), threads, block_threads);
  for_parts(parts, [&](int part) {
    double* const mine = accumulators + part * part_doubles(plan);
    for (int64_t i = part_begin(rows, parts, part, 1); i < part_begin(rows, parts, part + 1, 1); ++i) {
      const int64_t task = i / x.shape.height, n = task / g.blocks, b = task % g.blocks, channel = b * g.block;
      if (g.valid(b) <= 0) continue;  // the last block of an NHWC row may be padding only
      double* const sums = mine + channel / kLanes * class_lanes(plan) + channel % kLanes;
      image_row(plan, x.data + g.base(n, b), i % x.shape.height, g.row_stride, g.width(b), g.planes, sums);
    }
  });
}

void reduce_tap_norms(const TapNormPlan& plan, const double* accumulators, int block_threads, double* norm_sq) {
  ELEK_CHECK(accumulators != nullptr && norm_sq != nullptr && block_threads >= 1, "reduce_tap_norms: an array is missing");
  add_pairs(
      plan,
      [&](int64_t pair, int64_t c) {
        double sum = 0;
        const int64_t at = c / kLanes * class_lanes(plan) + pair * kLanes + c % kLanes;
        for (int t = 0; t < block_threads; ++t) sum += accumulators[t * part_doubles(plan) + at];
        return sum;
      },
      norm_sq);
}

#define ELEK_INSTANTIATE(T, suffix, dtype) \
  template void tap_norms(const ActivationView<T>&, const TapNormPlan&, double*, int, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
