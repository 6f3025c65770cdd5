// SPDX-License-Identifier: Apache-2.0
// The Winograd convolution: divides tiles and output channels among the threads and runs the three steps (winograd_input-inl.h,
// winograd_products-inl.h, winograd_output-inl.h). Google Highway compiles this file and those once per instruction set. A
// vector holds L neighbouring channels of one pixel; L divides the layout's block. Output channels form groups of two vectors,
// because the micro-kernel multiplies each broadcast value by two vectors. With an odd number of vectors the last group has
// one.
// Tests: tests/kernels/winograd_test.cpp
#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_simd.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/winograd_input-inl.h"
#include "kernels/cpu/detail/winograd_output-inl.h"
#include "kernels/cpu/detail/winograd_products-inl.h"
#include "kernels/cpu/detail/winograd_tiles.h"
#include "kernels/cpu/winograd.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using detail::TileBlock;

/// Steps 2 and 3 for output groups [first, last) over one block of tiles.
template <int kGrid, int kBlock, Observe kObserve>
void finish_block(const WinogradPlan& plan, const ConvArgs& args, const TileBlock& block, const Scratch& scratch,
                  int64_t first_group, int64_t last_group, int part) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t group = first_group; group < last_group; ++group) {
    multiply_group<kGrid, kBlock>(plan, args.packed, block, group, scratch);
    for (int64_t vector = 0; vector < vectors_of(plan, group); ++vector) {
      OutputVector out{(group * 2 + vector) * lanes, vector * lanes, args.bias, {}};
      if constexpr (kObserve != Observe::kNothing) out.sums = at_channel(args.sums->of_thread(part), out.channel);
      for (int64_t tile = 0; tile < block.tiles; ++tile)
        with_transforms<kGrid>(block.places[static_cast<size_t>(tile)], [&](auto rows, auto columns) HWY_ATTR {
          transform_output<decltype(rows), decltype(columns), kBlock, kObserve>(plan, args, block, tile, out, scratch.m);
        });
    }
  }
}

/// Step 1 for one tile of a block: vectors [first, last) of its channels.
template <int kGrid, int kBlock>
void start_tile(const WinogradPlan& plan, const ConvArgs& args, const TileBlock& block, int64_t tile, int64_t first,
                int64_t last, float* v) {
  with_transforms<kGrid>(block.places[static_cast<size_t>(tile)], [&](auto rows, auto columns) HWY_ATTR {
    transform_input<decltype(rows), decltype(columns), kBlock>(plan, args.x, block, tile, first, last, v);
  });
}

struct Range {
  int64_t first, last;
};

/// The part's share of `n` items.
inline Range share_of(const WinogradPlan& plan, int part, int64_t n) {
  const int64_t parts = plan.problem.threads;
  return {n * part / parts, n * (part + 1) / parts};
}

/// Step 1 for the part's share of a block: vectors of its tiles.
template <int kGrid, int kBlock>
void start_share(const WinogradPlan& plan, const ConvArgs& args, const TileBlock& block, int64_t vectors, int part, float* v) {
  const Range here = share_of(plan, part, block.tiles * vectors);
  for (int64_t i = here.first; i < here.last;) {
    const int64_t tile = i / vectors, from = i % vectors, to = std::min(vectors, from + here.last - i);
    start_tile<kGrid, kBlock>(plan, args, block, tile, from, to, v);
    i += to - from;
  }
}

/// The scratch of one part. What all parts share comes first.
inline Scratch scratch_of(const WinogradPlan& plan, float* at, int64_t part) {
  const auto take = [&at](int64_t floats) { return std::exchange(at, at + floats); };
  Scratch scratch{};
  if (plan.shared_v) scratch.v = take(plan.v_floats);
  at += part * (plan.m_floats + plan.u_floats + (plan.shared_v ? 0 : plan.v_floats));
  if (!plan.shared_v) scratch.v = take(plan.v_floats);
  scratch.m = take(plan.m_floats);
  scratch.u = take(plan.u_floats);
  return scratch;
}

/// The parts share V: all of a block's V is made before any part multiplies by it.
template <int kGrid, int kBlock, Observe kObserve>
void run_together(const WinogradPlan& plan, const ConvArgs& args, const detail::RunTiles& run_tiles, int64_t vectors) {
  for (int64_t b = 0; b < run_tiles.blocks(); ++b) {
    const TileBlock block = run_tiles.block(b);
    for_parts(plan.problem.threads, [&](int part) HWY_ATTR {
      start_share<kGrid, kBlock>(plan, args, block, vectors, part, scratch_of(plan, args.scratch, part).v);
    });
    for_parts(plan.problem.threads, [&](int part) HWY_ATTR {
      const Scratch scratch = scratch_of(plan, args.scratch, part);
      if (plan.whole_u && b == 0) transform_all_weights<kGrid, kBlock>(plan, args.packed, scratch.u);
      const Range groups = share_of(plan, part, plan.groups);
      finish_block<kGrid, kBlock, kObserve>(plan, args, block, scratch, groups.first, groups.last, part);
    });
  }
}

template <int kGrid, int kBlock, Observe kObserve>
void run(const WinogradPlan& plan, const ConvArgs& args) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const detail::RunTiles run_tiles(plan, args.x.samples);
  const int64_t vectors = args.x.channel_pitch / lanes;
  if (plan.shared_v) return run_together<kGrid, kBlock, kObserve>(plan, args, run_tiles, vectors);
  for_parts(plan.problem.threads, [&](int part) HWY_ATTR {
    const Scratch scratch = scratch_of(plan, args.scratch, part);
    const Range here = plan.split_channels ? Range{0, run_tiles.blocks()} : share_of(plan, part, run_tiles.blocks());
    const Range groups = plan.split_channels ? share_of(plan, part, plan.groups) : Range{0, plan.groups};
    if (plan.whole_u) transform_all_weights<kGrid, kBlock>(plan, args.packed, scratch.u);
    for (int64_t b = here.first; b < here.last; ++b) {
      const TileBlock block = run_tiles.block(b);
      for (int64_t tile = 0; tile < block.tiles; ++tile)
        start_tile<kGrid, kBlock>(plan, args, block, tile, 0, vectors, scratch.v);
      finish_block<kGrid, kBlock, kObserve>(plan, args, block, scratch, groups.first, groups.last, part);
    }
  });
}

template <int kGrid, int kBlock>
void run_observed_or_not(const WinogradPlan& plan, const ConvArgs& args) {
  switch (args.sums != nullptr ? observe_for(args.sums->sums) : Observe::kNothing) {
    case Observe::kNothing:
      return run<kGrid, kBlock, Observe::kNothing>(plan, args);
    case Observe::kActivity:
      return run<kGrid, kBlock, Observe::kActivity>(plan, args);
    case Observe::kAll:
      return run<kGrid, kBlock, Observe::kAll>(plan, args);
  }
}

void winograd_run(const WinogradPlan& plan, const ConvArgs& args) {
  const bool wide = plan.problem.layout == Layout::kNChw16c;
  if (plan.problem.tile == WinogradTile::k4x4) {
    wide ? run_observed_or_not<detail::kGrid4, 16>(plan, args) : run_observed_or_not<detail::kGrid4, 8>(plan, args);
  } else {
    wide ? run_observed_or_not<detail::kGrid2, 16>(plan, args) : run_observed_or_not<detail::kGrid2, 8>(plan, args);
  }
}

int64_t winograd_few_tiles() { return kFewTiles; }

}  // namespace HWY_NAMESPACE
}  // namespace elek::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
HWY_EXPORT(winograd_run);
HWY_EXPORT(winograd_few_tiles);

namespace detail {
int64_t winograd_few_tiles() { return HWY_DYNAMIC_DISPATCH(winograd_few_tiles)(); }
}  // namespace detail

void winograd_conv(const WinogradPlan& plan, const ConvArgs& args) {
  const WinogradProblem& p = plan.problem;
  ELEK_CHECK(args.x.samples > 0 && args.x.samples <= p.samples && args.x.samples == args.y.samples,
             "winograd: planned for up to " + std::to_string(p.samples) + " samples, got " + std::to_string(args.x.samples));
  ELEK_CHECK(
      args.x.shape == (ImageShape{p.channels, p.height, p.width}) && args.x.layout == p.layout && args.y.layout == p.layout,
      "winograd: input is " + to_string(args.x.shape) + ", planned for " +
          to_string(ImageShape{p.channels, p.height, p.width}));
  ELEK_CHECK(args.y.shape == (ImageShape{p.out_channels, plan.out_height, plan.out_width}),
             "winograd: output is " + to_string(args.y.shape));
  if (args.sums != nullptr) {
    ELEK_CHECK(args.sums->threads >= p.threads && args.sums->channels_padded >= padded_channels(p.layout, p.out_channels),
               "winograd: sums for " + std::to_string(args.sums->threads) + " threads, fewer than run");
  }
  HWY_DYNAMIC_DISPATCH(winograd_run)(plan, args);
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
