// SPDX-License-Identifier: Apache-2.0
// The kernel of gemm_conv. Google Highway compiles this file once per instruction set.
// A vector holds L neighbouring output channels of one pixel. The product of a panel of up to kPanelRows pixels and a group of
// two vectors is accumulated in registers, over all taps and channels (panel_product-inl.h).
// "Planes" are the blocks of values that are multiplied one after the other: the channel blocks of x, or those of each tap in
// the scratch.
// Tests: tests/kernels/gemm_conv_test.cpp
#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/gemm_conv_simd.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/detail/gemm_conv_panels.h"
#include "kernels/cpu/detail/panel_product-inl.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/register_sums-inl.h"
#include "kernels/cpu/gemm_conv.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Where a panel's results go: for each vector v of output channels, `rows` pixels of y from at[v] on. The first vector begins
/// at `channel`.
struct Results {
  int64_t rows;
  int64_t at[2];
  int64_t channel;
  const SumArrays* totals;  // sums of this thread, for the first and the second vector
};

/// The epilogue of a panel: writes the accumulators to y and sums them. It processes both vectors together. Their sums are
/// chains of dependent additions, and two chains keep the adders busy.
/// Shapes    m: [v][kPanelRows][L]
template <int kVectors, int kBlock, Observe kObserve>
HWY_INLINE void finish_panel(const ConvArgs& args, const Results& out, const float* HWY_RESTRICT m) {
  const hn::CappedTag<float, kBlock> d;
  using V = hn::Vec<decltype(d)>;
  using Sums = RegisterSums<decltype(d), kObserve>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  const V threshold = hn::Set(d, kObserve != Observe::kNothing ? args.sums->threshold : 0.0F);
  const V bias0 = hn::Load(d, args.bias + out.channel);
  const V bias1 = kVectors == 2 ? hn::Load(d, args.bias + out.channel + lanes) : zero;
  const float* residual = args.residual.data;
  float* y = args.y.data;
  const bool relu = args.activation.is_relu(), clips = !args.activation.is_plain();
  Sums sums0(d), sums1(d);
  const auto finish = [&](V z, int64_t to, Sums& sums) HWY_ATTR {
    V value = z;
    if (residual != nullptr) value = hn::Add(value, hn::Load(d, residual + to));
    if (relu) value = hn::IfThenElse(hn::Lt(value, zero), zero, value);  // not Max: NaN stays NaN
    if (clips) {  // the bounds are read where they are needed: two more registers would cost every layer
      const V low = hn::Set(d, args.activation.lowest()), high = hn::Set(d, args.activation.highest());
      value = hn::IfThenElse(hn::Lt(value, low), low, hn::IfThenElse(hn::Gt(value, high), high, value));
    }
    hn::Store(value, d, y + to);
    sums.add(d, z, value, threshold);
  };
  const int64_t at0 = out.at[0], at1 = out.at[1];
  for (int64_t r = 0; r < out.rows; ++r) {
    finish(hn::Add(hn::Load(d, m + r * lanes), bias0), at0 + r * kBlock, sums0);
    if constexpr (kVectors == 2) finish(hn::Add(hn::Load(d, m + (kPanelRows + r) * lanes), bias1), at1 + r * kBlock, sums1);
  }
  if constexpr (kObserve != Observe::kNothing) {
    const auto count = static_cast<int>(out.rows);
    add_all_to(d, sums0, out.totals[0], {y + at0, 1, count, 0, kBlock});
    if constexpr (kVectors == 2) add_all_to(d, sums1, out.totals[1], {y + at1, 1, count, 0, kBlock});
  }
}

/// Writes to m, [v][kPanelRows][L]. The epilogue is a separate function, so it takes no registers here and is compiled once.
template <int kRows, int kVectors, int kBlock>
HWY_NOINLINE void multiply_panel(const Operands& o, float* HWY_RESTRICT m) {
  const hn::CappedTag<float, kBlock> d;
  hn::Vec<decltype(d)> acc[kVectors][kRows];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) acc[v][r] = hn::Zero(d);
  accumulate<kRows, kVectors, kBlock>(o, acc);
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) hn::Store(acc[v][r], d, m + (v * kPanelRows + r) * static_cast<int64_t>(hn::Lanes(d)));
}

template <int kVectors, int kBlock, Observe kObserve>
HWY_NOINLINE void convolve_panel(const Operands& o, const ConvArgs& args, const Results& out) {
  HWY_ALIGN float m[2 * kPanelRows * HWY_MAX_BYTES / sizeof(float)];
  with_constant<kPanelRows>(out.rows - 1, [&](auto i) HWY_ATTR { multiply_panel<i + 1, kVectors, kBlock>(o, m); });
  finish_panel<kVectors, kBlock, kObserve>(args, out, m);
}

/// Copies the pixels of panels [first, last) into `to`: [tap][channel block][pixel of the block][kBlock], zeros for padding.
template <int kBlock>
void gather(const GemmConvPlan& plan, const ActivationView<const float>& x, int64_t first, int64_t last, int64_t block_pixels,
            float* HWY_RESTRICT to) {
  const hn::CappedTag<float, kBlock> d;
  const GemmConvProblem& p = plan.problem;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), blocks = (p.channels + kBlock - 1) / kBlock;
  const int64_t plane = p.height * p.width * kBlock, sample_floats = x.channel_pitch * p.height * p.width;
  const bool whole_blocks = x.layout == p.layout;
  const Extent reach = p.window().reach();
  int64_t pixel = 0;
  for (int64_t i = first; i < last; ++i) {
    const detail::PixelRange range = detail::panel_pixels(plan, i % plan.sample_panels);
    const float* sample = x.data + i / plan.sample_panels * sample_floats;
    int64_t top = range.first / plan.out_width * p.stride.height - p.padding.top;
    int64_t left = range.first % plan.out_width * p.stride.width - p.padding.left;
    for (int64_t q = range.first; q < range.last; ++q, ++pixel) {
      float* out = to + pixel * kBlock;
      for (int64_t row = top; row < top + reach.height; row += p.dilation.height)
        for (int64_t column = left; column < left + reach.width; column += p.dilation.width) {
          const bool inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
          const float* from = sample + (row * p.width + column) * kBlock;
          for (int64_t block = 0; block < blocks; ++block, out += block_pixels * kBlock, from += plane) {
            if (whole_blocks || !inside) {
              for (int64_t c = 0; c < kBlock; c += lanes) hn::Store(inside ? hn::Load(d, from + c) : hn::Zero(d), d, out + c);
            } else {  // plain values are not aligned, and end with the last channel; lanes after it are not read
              std::copy_n(from, std::min<int64_t>(kBlock, p.channels - block * kBlock), out);
            }
          }
        }
      left += p.stride.width;
      if (left + p.padding.left >= plan.out_width * p.stride.width) left = -p.padding.left, top += p.stride.height;
    }
  }
}

/// The same from plain x: [block of taps and channels][pixel of the block][kBlock], with channels innermost. What fills the
/// last block is not read.
template <int kBlock>
void gather_compact(const GemmConvPlan& plan, const ActivationView<const float>& x, int64_t first, int64_t last,
                    int64_t block_pixels, float* HWY_RESTRICT to) {
  const GemmConvProblem& p = plan.problem;
  const int64_t plane = p.height * p.width;
  const Extent reach = p.window().reach();
  for (int64_t i = first; i < last; ++i) {
    const detail::PixelRange range = detail::panel_pixels(plan, i % plan.sample_panels);
    const float* sample = x.data + i / plan.sample_panels * x.channel_pitch * plane;
    for (int64_t q = range.first; q < range.last; ++q, to += kBlock) {
      const int64_t top = q / plan.out_width * p.stride.height - p.padding.top;
      const int64_t left = q % plan.out_width * p.stride.width - p.padding.left;
      float* out = to;
      int64_t lane = 0;
      for (int64_t row = top; row < top + reach.height; row += p.dilation.height)
        for (int64_t column = left; column < left + reach.width; column += p.dilation.width) {
          const bool inside = row >= 0 && row < p.height && column >= 0 && column < p.width;
          const float* from = sample + row * p.width + column;
          for (int64_t c = 0; c < p.channels; ++c, from += plane) {
            out[lane] = inside ? *from : 0.0F;
            if (++lane == kBlock) lane = 0, out += block_pixels * kBlock;
          }
        }
    }
  }
}

/// A panel of the current block: addresses that are computed once for all groups of output channels.
struct Panel {
  const float* x;   // first pixel in plane 0
  int64_t y_block;  // first channel block of the sample in y, counted in blocks
  int64_t y_pixel;
  int64_t rows;
};

/// The work of one part: output groups [first_group, last_group) of panels [first, last), one block of panels after the
/// other.
template <int kBlock, Observe kObserve>
struct Worker {
  const GemmConvPlan& plan;
  const ConvArgs& args;
  const int part;
  float* const scratch;
  const hn::CappedTag<float, kBlock> d{};
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t taps = plan.problem.kernel.area();
  const int64_t blocks = (plan.problem.channels + kBlock - 1) / kBlock, out_blocks = args.y.channel_pitch / kBlock;
  const int64_t sample_floats = args.x.channel_pitch * plan.problem.height * plan.problem.width;
  const int64_t group_floats = taps * plan.span * 2 * lanes;
  const int64_t in_plane = plan.problem.height * plan.problem.width * kBlock;
  const int64_t out_plane = plan.out_height * plan.out_width * kBlock;

  /// Fills in panels [from, to), in x itself or gathered. Returns their planes; the caller sets `first` for each panel.
  Planes lay_out(int64_t from, int64_t to, Panel* panels) const {
    int64_t pixels = 0;
    for (int64_t i = from; i < to; ++i) {
      const int64_t sample = i / plan.sample_panels;
      const detail::PixelRange range = detail::panel_pixels(plan, i % plan.sample_panels);
      const float* x = plan.gathers ? scratch + pixels * kBlock : args.x.data + sample * sample_floats + range.first * kBlock;
      panels[i - from] = {x, sample * out_blocks, range.first, range.last - range.first};
      pixels += range.last - range.first;
    }
    const int64_t last = plan.problem.channels - (blocks - 1) * kBlock;
    if (!plan.gathers) return {nullptr, in_plane, blocks, blocks, last};
    if (plan.compact) {
      gather_compact<kBlock>(plan, args.x, from, to, pixels, scratch);
      const int64_t lanes_used = taps * plan.problem.channels, count = (lanes_used + kBlock - 1) / kBlock;
      return {nullptr, pixels * kBlock, count, count, lanes_used - (count - 1) * kBlock};
    }
    gather<kBlock>(plan, args.x, from, to, pixels, scratch);
    return {nullptr, pixels * kBlock, taps * blocks, blocks, last};
  }

  /// Leaves only the planes that the outputs from `channel` on read. Returns how far the first of them is from plane 0.
  int64_t narrow(Planes& planes, int64_t channel) const {
    const detail::ChannelRange read = detail::channels_read(plan.problem, channel, 2 * lanes);
    const int64_t first = read.first / kBlock;
    planes.blocks = (read.count + kBlock - 1) / kBlock;
    planes.count = taps * planes.blocks;
    planes.last = read.count - (planes.blocks - 1) * kBlock;
    planes.skip = (blocks - planes.blocks) * planes.stride;
    return first * planes.stride;
  }

  void run_panel(Operands& o, const Panel& panel, int64_t channel, const SumArrays* totals) const {
    const auto place = [&](int64_t c) {
      return (panel.y_block + c / kBlock) * out_plane + panel.y_pixel * kBlock + c % kBlock;
    };
    const Results out{panel.rows, {place(channel), place(channel + lanes)}, channel, totals};
    const int vectors = channel + lanes < args.y.channel_pitch ? 2 : 1;
    o.results.rows = out.rows;
    o.results.rows_a_plane = (out.rows + o.x.count - 1) / o.x.count;
    for (int v = 0; v < vectors; ++v) {
      o.results.streams[o.results.count++] = args.y.data + out.at[v];
      if (args.residual.data != nullptr) o.results.streams[o.results.count++] = args.residual.data + out.at[v];
    }
    if (vectors == 1) {
      convolve_panel<1, kBlock, kObserve>(o, args, out);
    } else {
      convolve_panel<2, kBlock, kObserve>(o, args, out);
    }
  }

  void run(int64_t first, int64_t last, int64_t first_group, int64_t last_group) const {
    Panel panels[detail::kMaxBlockPanels];
    for (int64_t from = first; from < last; from += plan.block_panels) {
      const int64_t count = std::min(last - from, plan.block_panels);
      const Planes all = lay_out(from, from + count, panels);
      for (int64_t group = first_group; group < last_group; ++group) {
        const float* u = args.packed + group * group_floats;
        const int64_t channel = group * 2 * lanes;
        Planes planes = all;
        const int64_t distance = plan.problem.groups > 1 ? narrow(planes, channel) : 0;
        const int64_t pieces = count * planes.count * kLineFloats, lines = (group_floats + pieces - 1) / pieces;
        SumArrays totals[2];
        if constexpr (kObserve != Observe::kNothing) {
          totals[0] = at_channel(args.sums->of_thread(part), channel);
          totals[1] = at_channel(totals[0], lanes);
        }
        for (int64_t i = 0; i < count; ++i) {
          Operands o{planes,
                     u,
                     panels[std::min(i + 1, count - 1)].x + distance,
                     u + group_floats + i * planes.count * lines * kLineFloats,
                     group + 1 < last_group ? lines : 0,
                     {}};
          o.x.first = panels[i].x + distance;
          run_panel(o, panels[i], channel, totals);
        }
      }
    }
  }
};

template <int kBlock, Observe kObserve>
void run(const GemmConvPlan& plan, const ConvArgs& args) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t out_lanes = 2 * static_cast<int64_t>(hn::Lanes(d));
  const int64_t groups = (args.y.channel_pitch + out_lanes - 1) / out_lanes, panels = args.x.samples * plan.sample_panels;
  const size_t scratch_floats = plan.scratch_bytes / sizeof(float) / static_cast<size_t>(plan.problem.threads);
  const int64_t parts = plan.problem.threads;
  for_parts(plan.problem.threads, [&](int part) HWY_ATTR {
    const auto share = [part, parts](int64_t n, int64_t which) { return n * (part + which) / parts; };
    float* scratch = plan.gathers ? args.scratch + static_cast<size_t>(part) * scratch_floats : nullptr;
    const Worker<kBlock, kObserve> worker{plan, args, part, scratch};
    if (plan.split_outputs) {
      worker.run(0, panels, share(groups, 0), share(groups, 1));
    } else {
      worker.run(share(panels, 0), share(panels, 1), 0, groups);
    }
  });
}

template <int kBlock>
void run_observed_or_not(const GemmConvPlan& plan, const ConvArgs& args) {
  switch (args.sums != nullptr ? observe_for(args.sums->sums) : Observe::kNothing) {
    case Observe::kNothing:
      return run<kBlock, Observe::kNothing>(plan, args);
    case Observe::kActivity:
      return run<kBlock, Observe::kActivity>(plan, args);
    case Observe::kAll:
      return run<kBlock, Observe::kAll>(plan, args);
  }
}

void gemm_conv_run(const GemmConvPlan& plan, const ConvArgs& args) {
  plan.problem.layout == Layout::kNChw16c ? run_observed_or_not<16>(plan, args) : run_observed_or_not<8>(plan, args);
}

}  // namespace HWY_NAMESPACE
}  // namespace elek::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/error.h"

namespace elek::kernels::cpu {
HWY_EXPORT(gemm_conv_run);
void gemm_conv(const GemmConvPlan& plan, const ConvArgs& args) {
  const GemmConvProblem& p = plan.problem;
  const ImageShape in{p.channels, p.height, p.width}, out{p.out_channels, plan.out_height, plan.out_width};
  ELEK_CHECK(args.x.samples > 0 && args.x.samples <= p.samples && args.x.samples == args.y.samples,
             "gemm_conv: planned for up to " + std::to_string(p.samples) + " samples, got " + std::to_string(args.x.samples));
  ELEK_CHECK(args.x.shape == in && args.x.layout == (p.plain ? Layout::kNchw : p.layout) && args.y.layout == p.layout,
             "gemm_conv: input is " + to_string(args.x.shape) + ", planned for " + to_string(in));
  ELEK_CHECK(args.y.shape == out, "gemm_conv: output is " + to_string(args.y.shape) + ", planned for " + to_string(out));
  ELEK_CHECK(!plan.gathers || args.scratch != nullptr, "gemm_conv: no scratch");
  ELEK_CHECK(args.activation.is_clamp(), "gemm_conv: its last step only clamps");
  if (args.sums != nullptr) {
    ELEK_CHECK(args.sums->threads >= p.threads && args.sums->channels_padded >= padded_channels(p.layout, p.out_channels),
               "gemm_conv: sums for " + std::to_string(args.sums->threads) + " threads, fewer than run");
  }
  HWY_DYNAMIC_DISPATCH(gemm_conv_run)(plan, args);
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
