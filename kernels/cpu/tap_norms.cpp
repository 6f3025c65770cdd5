// SPDX-License-Identifier: Apache-2.0
// See tap_norms.h. Accumulators of a part: [channels / 16][row class][column class][16 lanes] doubles.
#include "kernels/cpu/tap_norms.h"

#include <algorithm>
#include <string>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/targets.h"
#include "kernels/cpu/walk.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/tap_norms.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/flush-inl.h"
#include "kernels/cpu/stored-inl.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// to[0 … Lanes(d)) += sums of squares of `count` vectors `stride` elements apart.
template <class D, typename T>
HWY_INLINE void SquaresOfLanes(D d, const T* HWY_RESTRICT x, int64_t count, int64_t stride, double* HWY_RESTRICT to) {
  using V = hn::Vec<D>;
  constexpr int64_t kChains = 4, kBlock = 8 * kChains;  // 8 terms a chain: the bound of docs/statistics.md
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t end = HWY_MIN(first + kBlock, count);
    V a = hn::Zero(d), b = a, c = a, e = a;
    int64_t i = first;
    const T* at = x + i * stride;
    for (; i + kChains <= end; i += kChains, at += kChains * stride) {
      const V v0 = LoadStored(d, at), v1 = LoadStored(d, at + stride);
      const V v2 = LoadStored(d, at + 2 * stride), v3 = LoadStored(d, at + 3 * stride);
      a = hn::MulAdd(v0, v0, a);
      b = hn::MulAdd(v1, v1, b);
      c = hn::MulAdd(v2, v2, c);
      e = hn::MulAdd(v3, v3, e);
    }
    for (int64_t left = 0; i < end; ++i, ++left, at += stride) {  // at most 3: one a chain
      const V v = LoadStored(d, at);
      if (left == 0) a = hn::MulAdd(v, v, a);
      if (left == 1) b = hn::MulAdd(v, v, b);
      if (left == 2) c = hn::MulAdd(v, v, c);
    }
    FlushToDouble(d, hn::Add(hn::Add(a, b), hn::Add(c, e)), to);
  }
}

template <typename T>
HWY_INLINE void SquaresOfRun(const T* x, int64_t count, int64_t stride, int width, double* to) {
  const hn::CappedTag<float, kLanes> wide;
  const hn::CappedTag<float, kLanes / 2> half;
  const hn::CappedTag<float, 1> one;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)())),
                kHalf = static_cast<int>(hn::MaxLanes(decltype(half)()));
  int lane = 0;
  for (; lane + kWide <= width; lane += kWide) SquaresOfLanes(wide, x + lane, count, stride, to + lane);
  for (; lane + kHalf <= width; lane += kHalf) SquaresOfLanes(half, x + lane, count, stride, to + lane);
  for (; lane < width; ++lane) SquaresOfLanes(one, x + lane, count, stride, to + lane);
}

/// Row `h` of one task: x is its position 0, `to` the task's sums [row class][column class][16].
template <typename T>
HWY_INLINE void ImageRow(const TapNormPlan& plan, const T* x, int64_t h, int64_t row_stride, int width, bool planes,
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
      SquaresOfRun(at, vectors, kLanes, kLanes, lanes);
      SquaresOfRun(at + vectors * kLanes, 1, kLanes, static_cast<int>(s.count % kLanes), lanes);
      for (const double each : lanes) sums[0] += each;
    } else {
      SquaresOfRun(at, s.count, s.step * row_stride, planes ? 1 : width, sums);
    }
  }
}

void SquaresOfImageRow(const TapNormPlan& plan, const float* x, int64_t h, int64_t row_stride, int width, bool planes,
                       double* to) {
  ImageRow(plan, x, h, row_stride, width, planes, to);
}
void SquaresOfImageRowBf16(const TapNormPlan& plan, const BFloat16* x, int64_t h, int64_t row_stride, int width, bool planes,
                           double* to) {
  ImageRow(plan, x, h, row_stride, width, planes, to);
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

HWY_EXPORT(SquaresOfImageRow);
HWY_EXPORT(SquaresOfImageRowBf16);

void image_row(const TapNormPlan& plan, const float* x, int64_t h, int64_t row_stride, int width, bool planes, double* to) {
  HWY_DYNAMIC_DISPATCH(SquaresOfImageRow)(plan, x, h, row_stride, width, planes, to);
}
void image_row(const TapNormPlan& plan, const BFloat16* x, int64_t h, int64_t row_stride, int width, bool planes, double* to) {
  HWY_DYNAMIC_DISPATCH(SquaresOfImageRowBf16)(plan, x, h, row_stride, width, planes, to);
}

/// Class of each coordinate by the set of taps that meet it; -1 = none.
std::vector<int32_t> classify(int64_t extent, int64_t out, int64_t kernel, int64_t stride, int64_t padding,
                              std::vector<uint64_t>& taps_of_class) {
  std::vector<int32_t> classes;
  for (int64_t i = 0; i < extent; ++i) {
    uint64_t taps = 0;
    for (int64_t r = 0; r < kernel; ++r) {
      const int64_t from = i + padding - r;
      if (from >= 0 && from % stride == 0 && from / stride < out) taps |= uint64_t{1} << r;
    }
    if (taps == 0) {
      classes.push_back(-1);
      continue;
    }
    const auto found = std::find(taps_of_class.begin(), taps_of_class.end(), taps);
    classes.push_back(static_cast<int32_t>(found - taps_of_class.begin()));
    if (found == taps_of_class.end()) taps_of_class.push_back(taps);
  }
  return classes;
}

/// Columns of one class as arithmetic progressions: few long ones inside, single ones at the borders.
void add_segments(const std::vector<int32_t>& classes, int32_t wanted, std::vector<TapNormPlan::Segment>& segments) {
  TapNormPlan::Segment run{wanted, 0, 1, 0};
  for (int32_t w = 0; w < static_cast<int32_t>(classes.size()); ++w) {
    if (classes[static_cast<size_t>(w)] != wanted) continue;
    const int32_t last = run.begin + (run.count - 1) * run.step;
    if (run.count == 1) run.step = w - last;
    if (run.count > 0 && w - last == run.step) {
      ++run.count;
      continue;
    }
    if (run.count > 0) segments.push_back(run);
    run = {wanted, w, 1, 1};
  }
  if (run.count > 0) segments.push_back(run);
}

int64_t class_lanes(const TapNormPlan& plan) {  // doubles a block of 16 channels
  return static_cast<int64_t>(plan.row_class_taps.size() * plan.column_class_taps.size()) * kLanes;
}
int64_t channel_blocks(const TapNormPlan& plan) { return (plan.input.channels + kLanes - 1) / kLanes; }
int64_t part_doubles(const TapNormPlan& plan) { return (class_lanes(plan) * channel_blocks(plan) + 15) / 16 * 16; }

}  // namespace

TapNormPlan make_tap_norm_plan(const ImageShape& input, int64_t kernel, int64_t stride, int64_t padding) {
  ELEK_CHECK(kernel >= 1 && kernel <= 16 && stride >= 1 && padding >= 0 && padding < std::max<int64_t>(kernel, 1) &&
                 input.channels >= 1 && std::min(input.height, input.width) >= 1 &&
                 std::min(input.height, input.width) + 2 * padding >= kernel,
             "tap norms: kernel " + std::to_string(kernel) + " stride " + std::to_string(stride) + " padding " +
                 std::to_string(padding) + " on " + to_string(input) +
                 ", expected kernel 1 … 16, stride >= 1, 0 <= padding < kernel and at least one output position");
  TapNormPlan plan;
  plan.input = input;
  plan.kernel = kernel;
  const auto out = [&](int64_t extent) { return (extent + 2 * padding - kernel) / stride + 1; };
  plan.row_class = classify(input.height, out(input.height), kernel, stride, padding, plan.row_class_taps);
  const std::vector<int32_t> columns = classify(input.width, out(input.width), kernel, stride, padding, plan.column_class_taps);
  for (size_t k = 0; k < plan.column_class_taps.size(); ++k) add_segments(columns, static_cast<int32_t>(k), plan.segments);
  std::sort(plan.segments.begin(), plan.segments.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
  return plan;
}

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
      if (g.valid(b) <= 0) continue;  // an NHWC row may end in padding only
      double* const sums = mine + channel / kLanes * class_lanes(plan) + channel % kLanes;
      image_row(plan, x.data + g.base(n, b), i % x.shape.height, g.row_stride, g.width(b), g.planes, sums);
    }
  });
}

void reduce_tap_norms(const TapNormPlan& plan, const double* accumulators, int block_threads, double* norm_sq) {
  ELEK_CHECK(accumulators != nullptr && norm_sq != nullptr && block_threads >= 1, "reduce_tap_norms: an array is missing");
  const int64_t kernel = plan.kernel;
  const auto column_classes = static_cast<int64_t>(plan.column_class_taps.size());
  for (int64_t c = 0; c < plan.input.channels; ++c) {
    double* const taps = norm_sq + c * kernel * kernel;
    std::fill_n(taps, kernel * kernel, 0.0);
    for (size_t rc = 0; rc < plan.row_class_taps.size(); ++rc) {
      for (int64_t cc = 0; cc < column_classes; ++cc) {
        double sum = 0;
        const int64_t at =
            c / kLanes * class_lanes(plan) + (static_cast<int64_t>(rc) * column_classes + cc) * kLanes + c % kLanes;
        for (int t = 0; t < block_threads; ++t) sum += accumulators[t * part_doubles(plan) + at];
        for (int64_t tap = 0; tap < kernel * kernel; ++tap) {
          const bool meets = (plan.row_class_taps[rc] >> (tap / kernel) & 1) != 0 &&
                             (plan.column_class_taps[static_cast<size_t>(cc)] >> (tap % kernel) & 1) != 0;
          if (meets) taps[tap] += sum;
        }
      }
    }
  }
}

template void tap_norms(const ActivationView<float>&, const TapNormPlan&, double*, int, int);
template void tap_norms(const ActivationView<BFloat16>&, const TapNormPlan&, double*, int, int);

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
