// SPDX-License-Identifier: Apache-2.0
// See depthwise.h. Google Highway compiles this file once per instruction set.
// Tests: tests/kernels/depthwise_test.cpp
#include "kernels/cpu/depthwise.h"

#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/depthwise.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/register_sums-inl.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// One row of outputs, for one vector of channels. All pointers point to the vector's first channel; pixels are kBlock floats
/// apart.
template <int kBlock, Observe kObserve>
struct RowOfOutputs {
  using D = hn::CappedTag<float, kBlock>;
  using V = hn::Vec<D>;
  static constexpr int kMostTerms = 16;  // positions per chain of sums: docs/statistics.md derives the bound from it

  const DepthwiseProblem& p;
  const float* w;         // [tap][kBlock]
  const float* x;         // first row of the window that is inside the image, column 0
  const float* residual;  // null = none
  float* y;
  int64_t first_tap_row;
  int64_t tap_rows;  // rows of the window that are inside the image
  V bias, low, high, threshold;
  bool clamps, clamps_high;

  /// Outputs [q, q + kN) of the row. If kN > 1, all columns of their windows must be inside the image.
  template <int kN>
  HWY_INLINE void outputs(int64_t q, RegisterSums<D, kObserve>& sums) const {
    const D d;
    V acc[kN];
    for (int j = 0; j < kN; ++j) acc[j] = hn::Zero(d);
    const int64_t columns = p.kernel.width, step = p.stride.width;
    const int64_t left = q * step - p.padding.left;
    const int64_t first = kN > 1 ? 0 : std::max<int64_t>(0, -left), last = kN > 1 ? columns : std::min(columns, p.width - left);
    for (int64_t r = 0; r < tap_rows; ++r) {
      const float* HWY_RESTRICT weights = w + (first_tap_row + r) * columns * kBlock;
      const float* HWY_RESTRICT pixels = x + (r * p.width + left) * kBlock;
      for (int64_t s = first; s < last; ++s) {
        const V weight = hn::Load(d, weights + s * kBlock);
        for (int j = 0; j < kN; ++j) {
          acc[j] = hn::MulAdd(weight, hn::Load(d, pixels + (j * step + s) * kBlock), acc[j]);
        }
      }
    }
    for (int j = 0; j < kN; ++j) finish(acc[j], (q + j) * kBlock, sums);
  }

  HWY_INLINE void finish(V products, int64_t at, RegisterSums<D, kObserve>& sums) const {
    const D d;
    const V z = hn::Add(products, bias);
    V value = z;
    if (residual != nullptr) value = hn::Add(value, hn::Load(d, residual + at));
    if (clamps) value = hn::IfThenElse(hn::Lt(value, low), low, value);  // not Max: NaN stays NaN
    if (clamps_high) value = hn::IfThenElse(hn::Gt(value, high), high, value);
    hn::Store(value, d, y + at);
    sums.add(d, z, value, threshold);
  }

  HWY_INLINE void run(int64_t out_width, const SumArrays& totals) const {
    const D d;
    const int64_t step = p.stride.width;
    const int64_t whole_first = std::min(out_width, (p.padding.left + step - 1) / step);
    const int64_t room = p.width + p.padding.left - p.kernel.width;  // last column where a whole window can begin, plus padding
    const int64_t whole_last = room < 0 ? whole_first : std::clamp(room / step + 1, whole_first, out_width);
    RegisterSums<D, kObserve> sums(d);
    int64_t begun = 0;
    const auto flush = [&](int64_t until) HWY_ATTR {
      add_all_to(d, sums, totals, {y + begun * kBlock, 1, static_cast<int>(until - begun), 0, kBlock});
      sums = RegisterSums<D, kObserve>(d);
      begun = until;
    };
    for (int64_t q = 0; q < out_width;) {
      const int64_t whole = q < whole_first ? 0 : whole_last - q;
      const int64_t count = whole >= 8 ? 8 : whole >= 4 ? 4 : 1;
      if (q - begun + count > kMostTerms) flush(q);
      if (count == 8) outputs<8>(q, sums);
      if (count == 4) outputs<4>(q, sums);
      if (count == 1) outputs<1>(q, sums);
      q += count;
    }
    flush(out_width);
  }
};

/// Row `row` of the outputs of one channel block of one sample, one vector of channels after the other.
template <int kBlock, Observe kObserve>
HWY_INLINE void row_of_block(const DepthwisePlan& plan, const ConvArgs& args, int64_t plane, int64_t block, int64_t row,
                             const SumArrays& totals) {
  const hn::CappedTag<float, kBlock> d;
  const DepthwiseProblem& p = plan.problem;
  const int64_t top = row * p.stride.height - p.padding.top;
  const int64_t first_row = std::max<int64_t>(0, top), last_row = std::min(p.height, top + p.kernel.height);
  const int64_t from = (plane * p.height + first_row) * p.width * kBlock;
  const int64_t to = (plane * plan.out_height + row) * plan.out_width * kBlock;
  const float* bias = args.bias + block * kBlock;
  for (int64_t v = 0; v < kBlock; v += static_cast<int64_t>(hn::Lanes(d))) {
    const RowOfOutputs<kBlock, kObserve> outputs{p,
                                                 args.packed + block * p.kernel.area() * kBlock + v,
                                                 args.x.data + from + v,
                                                 args.residual.data != nullptr ? args.residual.data + to + v : nullptr,
                                                 args.y.data + to + v,
                                                 first_row - top,
                                                 last_row - first_row,
                                                 hn::Load(d, bias + v),
                                                 hn::Set(d, args.activation.lowest()),
                                                 hn::Set(d, args.activation.highest()),
                                                 hn::Set(d, kObserve != Observe::kNothing ? args.sums->threshold : 0.0F),
                                                 !args.activation.is_none(),
                                                 !args.activation.is_plain()};
    outputs.run(plan.out_width, kObserve != Observe::kNothing ? at_channel(totals, block * kBlock + v) : SumArrays{});
  }
}

/// Rows of all samples and channel blocks, divided evenly among the threads.
template <int kBlock, Observe kObserve>
void depthwise_rows(const DepthwisePlan& plan, const ConvArgs& args) {
  const int64_t blocks = args.y.channel_pitch / kBlock;
  const int64_t rows = args.x.samples * blocks * plan.out_height;
  const int64_t parts = plan.problem.threads;
  for_parts(plan.problem.threads, [&](int part) HWY_ATTR {
    SumArrays totals;
    if constexpr (kObserve != Observe::kNothing) totals = args.sums->of_thread(part);
    for (int64_t i = rows * part / parts; i < rows * (part + 1) / parts; ++i) {
      const int64_t plane = i / plan.out_height;
      row_of_block<kBlock, kObserve>(plan, args, plane, plane % blocks, i % plan.out_height, totals);
    }
  });
}

template <int kBlock>
void observed_or_not(const DepthwisePlan& plan, const ConvArgs& args) {
  switch (args.sums != nullptr ? observe_for(args.sums->sums) : Observe::kNothing) {
    case Observe::kNothing:
      return depthwise_rows<kBlock, Observe::kNothing>(plan, args);
    case Observe::kActivity:
      return depthwise_rows<kBlock, Observe::kActivity>(plan, args);
    case Observe::kAll:
      return depthwise_rows<kBlock, Observe::kAll>(plan, args);
  }
}

void depthwise_run(const DepthwisePlan& plan, const ConvArgs& args) {
  plan.problem.layout == Layout::kNChw16c ? observed_or_not<16>(plan, args) : observed_or_not<8>(plan, args);
}

}  // namespace HWY_NAMESPACE
}  // namespace elek::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {

HWY_EXPORT(depthwise_run);

Result<DepthwisePlan> plan_depthwise(const DepthwiseProblem& p) {
  const int64_t block = channel_block(p.layout);
  if (block < 8) return No{"depthwise wants a blocked layout, got " + std::string(name_of(p.layout))};
  ELEK_CHECK(p.samples > 0 && p.channels > 0 && p.threads > 0 && is_possible(p.window()),
             "depthwise: samples, channels, threads, kernel and stride must be positive");
  const ImageShape out = p.window().slide({p.channels, p.height, p.width});
  if (out.height == 0 || out.width == 0) return No{"image smaller than the kernel"};
  DepthwisePlan plan;
  plan.problem = p;
  plan.out_height = out.height;
  plan.out_width = out.width;
  plan.packed_bytes = checked_bytes(Shape{padded_channels(p.layout, p.channels), p.kernel.height, p.kernel.width}, DType::kF32);
  return plan;
}

void pack_depthwise_weights(const DepthwisePlan& plan, const float* weights, float* packed) {
  const DepthwiseProblem& p = plan.problem;
  const int64_t block = channel_block(p.layout), taps = p.kernel.area();
  for (int64_t first = 0; first < p.channels; first += block) {
    for (int64_t tap = 0; tap < taps; ++tap) {
      for (int64_t c = first; c < first + block; ++c) *packed++ = c < p.channels ? weights[c * taps + tap] : 0.0F;
    }
  }
}

void depthwise_conv(const DepthwisePlan& plan, const ConvArgs& args) {
  const DepthwiseProblem& p = plan.problem;
  const ImageShape in{p.channels, p.height, p.width}, out{p.channels, plan.out_height, plan.out_width};
  ELEK_CHECK(args.x.samples > 0 && args.x.samples <= p.samples && args.x.samples == args.y.samples,
             "depthwise: planned for up to " + std::to_string(p.samples) + " samples, got " + std::to_string(args.x.samples));
  ELEK_CHECK(args.x.shape == in && args.x.layout == p.layout && args.y.layout == p.layout,
             "depthwise: input is " + to_string(args.x.shape) + ", planned for " + to_string(in));
  ELEK_CHECK(args.y.shape == out, "depthwise: output is " + to_string(args.y.shape) + ", planned for " + to_string(out));
  ELEK_CHECK(args.activation.is_clamp(), "depthwise: its last step only clamps");
  if (args.sums != nullptr) {
    ELEK_CHECK(args.sums->threads >= p.threads && args.sums->channels_padded >= padded_channels(p.layout, p.channels),
               "depthwise: sums for " + std::to_string(args.sums->threads) + " threads, fewer than run");
  }
  HWY_DYNAMIC_DISPATCH(depthwise_run)(plan, args);
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
