// SPDX-License-Identifier: Apache-2.0
// Winograd's three steps, one source for every instruction set (Google Highway compiles this file once for each).
// Lanes: a vector holds L neighbouring channels of one pixel; L divides the layout's block. Output channels go in groups of two
// vectors, which is what one broadcast feeds in the micro-kernel.
// Tests: tests/kernels/winograd_test.cpp
#include "kernels/cpu/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/winograd_simd.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <omp.h>

#include <algorithm>
#include <utility>

#include "kernels/cpu/register_sums-inl.h"
#include "kernels/cpu/winograd.h"
#include "kernels/cpu/winograd_detail.h"
#include "kernels/cpu/winograd_transforms-inl.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using detail::TileBlock;
using detail::TilePlace;

// Rows of the micro-kernel: accumulators (2 a row) plus two weights and a broadcast must fit the registers: 32 or 16.
#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kPanelRows = 14;
#else
constexpr int kPanelRows = 6;
#endif

/// Where point (i, j) of a tile lies in the grid of points.
template <class Rows, class Columns>
constexpr size_t place_in_grid(int i, int j) {
  const int row = detail::grid_point(Rows::kGrid, Rows::kOutputs, i);
  const int point = row * Rows::kGrid + detail::grid_point(Columns::kGrid, Columns::kOutputs, j);
  return static_cast<size_t>(point);
}

// ---- step 1: input tiles to V
// --------------------------------------------------------------------------------------------------
/// Transforms vectors [first, last) of the channels of a block's tile into V. Meanwhile fetches the pixels that the next tile
/// to the right reads and this one does not.
template <class Rows, class Columns, int kBlock>
void transform_input(const WinogradPlan& plan, const ActivationView<const float>& x, const TileBlock& block, int64_t tile,
                     int64_t first, int64_t last, float* HWY_RESTRICT v) {
  const hn::CappedTag<float, kBlock> d;
  using V = Vec<decltype(d)>;
  constexpr int kHigh = Rows::kOutputs + 2, kWide = Columns::kOutputs + 2;
  const TilePlace& place = block.places[static_cast<size_t>(tile)];
  float* HWY_RESTRICT out = v + tile * plan.v_tile_stride;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), h = x.shape.height, w = x.shape.width;
  const int64_t top = place.row - plan.problem.padding, left = place.column - plan.problem.padding;
  const bool inside = top >= 0 && left >= 0 && top + kHigh <= h && left + kWide <= w;
  const int64_t row_floats = w * kBlock, plane = h * row_floats;
  const int64_t fetched_rows = std::min<int64_t>(kHigh, h - top);
  const int64_t fetched_end = std::min<int64_t>(kWide + Columns::kOutputs, w - left);
  const float* sample = x.data + place.sample * (x.channel_pitch / kBlock) * plane;
  for (int64_t vector = first; vector < last; ++vector) {
    const int64_t channel = vector * lanes;
    const float* base = sample + channel / kBlock * plane + channel % kBlock + top * row_floats + left * kBlock;
    for (int64_t i = std::max<int64_t>(0, -top); i < fetched_rows; ++i)
      for (int64_t j = kWide; j < fetched_end; ++j) hwy::Prefetch(base + i * row_floats + j * kBlock);
    V u[kHigh][kWide];
    const auto transform_column = [&](int j, const auto& pixel) HWY_ATTR {
      V c[kHigh];
#pragma GCC unroll 6  // what is indexed by a variable, even once, lives in memory throughout
      for (int i = 0; i < kHigh; ++i) c[i] = pixel(i, j);
      Rows::input(d, c, c);
#pragma GCC unroll 6
      for (int i = 0; i < kHigh; ++i) u[i][j] = c[i];
    };
    if (inside) {
#pragma GCC unroll 6
      for (int j = 0; j < kWide; ++j)
        transform_column(j, [&](int i, int k) HWY_ATTR { return hn::Load(d, base + i * row_floats + k * kBlock); });
    } else {
      for (int j = 0; j < kWide; ++j)
        transform_column(j, [&](int i, int k) HWY_ATTR {
          const bool there = top + i >= 0 && top + i < h && left + k >= 0 && left + k < w;
          return there ? hn::Load(d, base + i * row_floats + k * kBlock) : hn::Zero(d);
        });
    }
#pragma GCC unroll 6
    for (int i = 0; i < kHigh; ++i) {
      V r[kWide];
      Columns::input(d, u[i], r);
#pragma GCC unroll 6
      for (int j = 0; j < kWide; ++j) hn::Store(r[j], d, out + channel + block.v_at[place_in_grid<Rows, Columns>(i, j)]);
    }
  }
}

// ---- step 2: the weights to U, M = V U: one small product a transform point
// ----------------------------------------------------------------------
/// One row of points of U = G w G^T, of `channels` input channels of one group.
/// w: [channels][9][2L] -> u: kGrid points u_stride floats apart, [channels][2L] each
template <int kGrid, int kRow, class D>
HWY_NOINLINE void transform_weights(D d, const float* HWY_RESTRICT w, int64_t channels, float* HWY_RESTRICT u,
                                    int64_t u_stride) {
  using V = Vec<D>;
  using T = WeightTransform<kGrid>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), out_lanes = 2 * lanes;
  for (int64_t c = 0; c < channels; ++c, w += 9 * out_lanes, u += out_lanes)
    for (int64_t at = 0; at < out_lanes; at += lanes) {
      V t[3], y[kGrid];
#pragma GCC unroll 3
      for (int j = 0; j < 3; ++j) {
        const auto tap = [&](int i) HWY_ATTR { return hn::Load(d, w + (3 * i + j) * out_lanes + at); };
        if constexpr (kRow == 0) {
          t[j] = tap(0);
        } else if constexpr (kRow == kGrid - 1) {
          t[j] = tap(2);
        } else {
          t[j] = hn::Mul(hn::Set(d, T::kRows[kRow][0]), tap(0));
          t[j] = hn::MulAdd(hn::Set(d, T::kRows[kRow][2]), tap(2), t[j]);
          t[j] = hn::MulAdd(hn::Set(d, T::kRows[kRow][1]), tap(1), t[j]);
        }
      }
      T::points(d, t, y);
#pragma GCC unroll 6
      for (int j = 0; j < kGrid; ++j) hn::Store(y[j], d, u + j * u_stride + at);
    }
}

template <int kGrid, class D>
HWY_INLINE void transform_weights(D d, int64_t row, const float* w, int64_t channels, float* u, int64_t u_stride) {
  switch (row) {
    case 0:
      return transform_weights<kGrid, 0>(d, w, channels, u, u_stride);
    case 1:
      return transform_weights<kGrid, 1>(d, w, channels, u, u_stride);
    case 2:
      return transform_weights<kGrid, 2>(d, w, channels, u, u_stride);
    case 3:
      return transform_weights<kGrid, 3>(d, w, channels, u, u_stride);
    default:
      if constexpr (kGrid == detail::kGrid4) {
        return row == 4 ? transform_weights<kGrid, 4>(d, w, channels, u, u_stride)
                        : transform_weights<kGrid, 5>(d, w, channels, u, u_stride);
      }
  }
}

/// What a product multiplies by, and what to fetch meanwhile for the one that follows.
struct Weights {
  const float* u;     // where [channels][2L] of point 0 lies, or would lie
  int64_t stride;     // floats between points
  int64_t channels;   // of V that it goes over
  const float* next;  // fetched from here on
  int64_t next_step;  // floats a channel of a point
};

/// m[r][0 … 2L) (+)= sum over c of v[r][c] u[c][0 … 2L) for kRows rows. Meanwhile fetches `ahead`.
template <int kRows, bool kAdds, class D>
HWY_INLINE void multiply_panel(D d, const float* HWY_RESTRICT v, int64_t v_stride, const float* HWY_RESTRICT u,
                               int64_t channels, const float* ahead, int64_t ahead_step, float* HWY_RESTRICT m) {
  using V = Vec<D>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc0[kRows], acc1[kRows];
#pragma GCC unroll 14  // what is indexed by a variable, even once, lives in memory throughout
  for (int r = 0; r < kRows; ++r) {
    acc0[r] = kAdds ? hn::Load(d, m + r * 2 * lanes) : hn::Zero(d);
    acc1[r] = kAdds ? hn::Load(d, m + r * 2 * lanes + lanes) : hn::Zero(d);
  }
  for (int64_t c = 0; c < channels; ++c) {
    const V u0 = hn::Load(d, u), u1 = hn::Load(d, u + lanes);
    hwy::Prefetch(ahead);
    hwy::Prefetch(ahead + ahead_step / 2);
    u += 2 * lanes;
    ahead += ahead_step;
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) {
      const V value = hn::Set(d, v[r * v_stride + c]);
      acc0[r] = hn::MulAdd(value, u0, acc0[r]);
      acc1[r] = hn::MulAdd(value, u1, acc1[r]);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < kRows; ++r) {
    hn::Store(acc0[r], d, m + r * 2 * lanes);
    hn::Store(acc1[r], d, m + r * 2 * lanes + lanes);
  }
}

template <int kRows, bool kAdds, class D>
HWY_INLINE void multiply_rows(D d, int64_t rows, const float* v, int64_t v_stride, const float* u, int64_t channels,
                              const float* ahead, int64_t ahead_step, float* m) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      multiply_panel<kRows, kAdds>(d, v, v_stride, u, channels, ahead, ahead_step, m);
    } else {
      multiply_rows<kRows - 1, kAdds>(d, rows, v, v_stride, u, channels, ahead, ahead_step, m);
    }
  }
}

/// Points [first, last) of those that a block of tiles uses, for one group of output channels. Panels are balanced: 20
/// rows go as 10 + 10, not 14 + 6.
template <int kBlock, bool kAdds>
HWY_NOINLINE void multiply(const WinogradPlan& plan, const TileBlock& block, int64_t first, int64_t last, const float* v,
                           const Weights& w, float* m) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t out_lanes = 2 * static_cast<int64_t>(hn::Lanes(d));
  for (int64_t k = first; k < last; ++k) {
    const detail::PointRows& at = block.points[static_cast<size_t>(k)];
    const float* u = w.u + at.point * w.stride;
    const float* v_point = v + block.v_at[static_cast<size_t>(at.point)] + at.first * plan.v_tile_stride;
    float* m_point = m + block.m_at[static_cast<size_t>(at.point)] + at.first * out_lanes;
    const int64_t panels = (at.rows + kPanelRows - 1) / kPanelRows;
    for (int64_t panel = 0, row = 0; panel < panels; ++panel) {
      const int64_t rows = (at.rows - row) / (panels - panel);
      // Each weight is fetched ahead once, by the first panel.
      const float* ahead = panel == 0 ? w.next + k * w.channels * w.next_step : u;
      multiply_rows<kPanelRows, kAdds>(d, rows, v_point + row * plan.v_tile_stride, plan.v_tile_stride, u, w.channels, ahead,
                                       panel == 0 ? w.next_step : 0, m_point + row * out_lanes);
      row += rows;
    }
  }
}

// ---- step 3: M to y, with the sums
// ---------------------------------------------------------------------------------------------
/// What the last step of one vector of output channels needs, constant over a block of tiles.
struct OutputVector {
  int64_t channel;  // first of its L channels
  int64_t column;   // its first in M
  const float* bias;
  SumArrays sums;  // this thread's, already moved to `channel`; nonfinite null = unobserved
};

template <class Rows, class Columns, int kBlock, Observe kObserve>
void transform_output(const WinogradPlan& plan, const ConvArgs& args, const TileBlock& block, int64_t tile,
                      const OutputVector& out, const float* HWY_RESTRICT m_block) {
  const hn::CappedTag<float, kBlock> d;
  using V = Vec<decltype(d)>;
  constexpr int kHigh = Rows::kOutputs + 2, kWide = Columns::kOutputs + 2;
  const TilePlace& place = block.places[static_cast<size_t>(tile)];
  const float* HWY_RESTRICT m = m_block + tile * plan.m_tile_stride + out.column;
  const int rows = static_cast<int>(std::min<int64_t>(Rows::kOutputs, plan.out_height - place.row));
  const int columns = static_cast<int>(std::min<int64_t>(Columns::kOutputs, plan.out_width - place.column));
  V t[kHigh * kWide], u[Rows::kOutputs * kWide], y[Rows::kOutputs * Columns::kOutputs];
#pragma GCC unroll 6
  for (int i = 0; i < kHigh; ++i)
#pragma GCC unroll 6
    for (int j = 0; j < kWide; ++j) {
      t[i * kWide + j] = hn::Load(d, m + block.m_at[place_in_grid<Rows, Columns>(i, j)]);
    }
#pragma GCC unroll 6
  for (int j = 0; j < kWide; ++j) Rows::output(d, t + j, kWide, u + j, kWide);
#pragma GCC unroll 4
  for (int i = 0; i < Rows::kOutputs; ++i) Columns::output(d, u + i * kWide, 1, y + i * Columns::kOutputs, 1);

  const int64_t row_floats = plan.out_width * kBlock, plane = plan.out_height * row_floats;
  const int64_t at = (place.sample * (args.y.channel_pitch / kBlock) + out.channel / kBlock) * plane + out.channel % kBlock +
                     place.row * row_floats + place.column * kBlock;
  // Meanwhile fetch what the next tile to the right writes and adds.
  const int64_t fetched_end = std::min<int64_t>(2 * Columns::kOutputs, plan.out_width - place.column);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = Columns::kOutputs; j < fetched_end; ++j) {
      const int64_t here = at + i * row_floats + j * kBlock;
      hwy::Prefetch(args.y.data + here);
      if (args.residual.data != nullptr) hwy::Prefetch(args.residual.data + here);
    }
  const V bias = hn::Load(d, out.bias + out.channel), zero = hn::Zero(d);
  RegisterSums<decltype(d), kObserve> sums(d, kObserve != Observe::kNothing ? args.sums->threshold : 0.0F);
  for (int i = 0; i < Rows::kOutputs; ++i) {
    if (i >= rows) break;
    for (int j = 0; j < Columns::kOutputs; ++j) {
      if (j >= columns) break;
      const int64_t here = at + i * row_floats + j * kBlock;
      const V z = hn::Add(y[i * Columns::kOutputs + j], bias);
      V value = z;
      if (args.residual.data != nullptr) value = hn::Add(value, hn::Load(d, args.residual.data + here));
      if (args.relu) value = hn::IfThenElse(hn::Lt(value, zero), zero, value);  // not Max: NaN stays NaN
      hn::Store(value, d, args.y.data + here);
      sums.add(z, value);
    }
  }
  sums.add_all_to(d, out.sums, {args.y.data + at, rows, columns, row_floats, kBlock});
}

/// body(Rows(), Columns()) with the transforms of a tile.
template <int kGrid, class Body>
HWY_INLINE void with_transforms(const TilePlace& place, const Body& body) {
  if constexpr (kGrid == detail::kGrid2) {
    body(Transform<kGrid, 2>(), Transform<kGrid, 2>());
  } else {
    const auto with_rows = [&](auto rows) HWY_ATTR {
      if (place.columns == 4) return body(rows, Transform<kGrid, 4>());
      if (place.columns == 3) return body(rows, Transform<kGrid, 3>());
      return body(rows, Transform<kGrid, 2>());
    };
    if (place.rows == 4) return with_rows(Transform<kGrid, 4>());
    if (place.rows == 3) return with_rows(Transform<kGrid, 3>());
    return with_rows(Transform<kGrid, 2>());
  }
}

/// What a thread works on: its copies, or those of all.
struct Scratch {
  float* v;
  float* m;
  float* u;  // of all groups, or of a chunk of channels of one
};

/// Step 2 of one group of output channels, by U as a whole.
template <int kBlock>
void multiply_group(const WinogradPlan& plan, const TileBlock& block, int64_t group, const Scratch& scratch) {
  const float* u = scratch.u + group * plan.u_floats;
  multiply<kBlock, false>(plan, block, 0, block.used_points, scratch.v,
                          {u, plan.u_stride, plan.problem.channels, u + plan.u_stride, plan.u_stride / plan.problem.channels},
                          scratch.m);
}

/// The same by a row of points of a chunk of input channels at a time: these weights are transformed, which leaves them in the
/// L1 cache, and used at once, so that what streams from memory is the weights as they were given, a quarter of F(4x4)'s U.
template <int kGrid, int kBlock>
void transform_and_multiply_group(const WinogradPlan& plan, const float* packed, const TileBlock& block, int64_t group,
                                  const Scratch& scratch) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t out_lanes = 2 * static_cast<int64_t>(hn::Lanes(d)), channels = plan.problem.channels;
  const int64_t step = (9 * out_lanes + block.used_points - 1) / block.used_points;
  const float* w = packed + group * channels * 9 * out_lanes;
  for (int64_t from = 0; from < channels; from += plan.chunk_channels) {
    const int64_t count = std::min(plan.chunk_channels, channels - from), floats = count * out_lanes;
    for (int64_t first = 0, last = 0; first < block.used_points; first = last) {
      const int64_t row = block.points[static_cast<size_t>(first)].point / kGrid;
      while (last < block.used_points && block.points[static_cast<size_t>(last)].point / kGrid == row) ++last;
      transform_weights<kGrid>(d, row, w, count, scratch.u, plan.u_stride);
      const Weights weights{scratch.u - row * kGrid * plan.u_stride, plan.u_stride, count, w + 9 * floats, step};
      if (from == 0) {
        multiply<kBlock, false>(plan, block, first, last, scratch.v, weights, scratch.m);
      } else {
        multiply<kBlock, true>(plan, block, first, last, scratch.v + from, weights, scratch.m);
      }
    }
    w += 9 * floats;
  }
}

/// Steps 2 and 3 for output groups [first, last) over one block of tiles.
template <int kGrid, int kBlock, Observe kObserve>
void finish_block(const WinogradPlan& plan, const ConvArgs& args, const TileBlock& block, const Scratch& scratch,
                  int64_t first_group, int64_t last_group, int thread) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t group = first_group; group < last_group; ++group) {
    if (plan.whole_u) {
      multiply_group<kBlock>(plan, block, group, scratch);
    } else {
      transform_and_multiply_group<kGrid, kBlock>(plan, args.packed, block, group, scratch);
    }
    for (int64_t vector = 0; vector < 2; ++vector) {
      OutputVector out{(group * 2 + vector) * lanes, vector * lanes, args.bias, {}};
      if (out.channel >= args.y.channel_pitch) break;
      if constexpr (kObserve != Observe::kNothing) out.sums = at_channel(args.sums->of_thread(thread), out.channel);
      for (int64_t tile = 0; tile < block.tiles; ++tile)
        with_transforms<kGrid>(block.places[static_cast<size_t>(tile)], [&](auto rows, auto columns) HWY_ATTR {
          transform_output<decltype(rows), decltype(columns), kBlock, kObserve>(plan, args, block, tile, out, scratch.m);
        });
    }
  }
}

/// Step 1 for vectors [first, last) of the channels of one tile of a block.
template <int kGrid, int kBlock>
void start_tile(const WinogradPlan& plan, const ConvArgs& args, const TileBlock& block, int64_t tile, int64_t first,
                int64_t last, float* v) {
  with_transforms<kGrid>(block.places[static_cast<size_t>(tile)], [&](auto rows, auto columns) HWY_ATTR {
    transform_input<decltype(rows), decltype(columns), kBlock>(plan, args.x, block, tile, first, last, v);
  });
}

/// What all share comes first: V where the threads split the output channels, U where it is made as a whole.
inline Scratch scratch_of(const WinogradPlan& plan, float* at, int64_t thread) {
  const auto take = [&at](int64_t floats) { return std::exchange(at, at + floats); };
  Scratch scratch{};
  if (plan.split_channels) scratch.v = take(plan.v_floats);
  if (plan.whole_u) scratch.u = take(plan.groups * plan.u_floats);
  at += thread * (plan.m_floats + (plan.split_channels ? 0 : plan.v_floats) + (plan.whole_u ? 0 : plan.u_floats));
  if (!plan.split_channels) scratch.v = take(plan.v_floats);
  scratch.m = take(plan.m_floats);
  if (!plan.whole_u) scratch.u = take(plan.u_floats);
  return scratch;
}

/// U of groups [first, last), whole.
template <int kGrid, int kBlock>
void transform_groups(const WinogradPlan& plan, const float* packed, int64_t first, int64_t last, float* u) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t group_floats = plan.problem.channels * 9 * 2 * static_cast<int64_t>(hn::Lanes(d));
  for (int64_t group = first; group < last; ++group)
    for (int64_t row = 0; row < kGrid; ++row)
      transform_weights<kGrid>(d, row, packed + group * group_floats, plan.problem.channels,
                               u + group * plan.u_floats + row * kGrid * plan.u_stride, plan.u_stride);
}

template <int kGrid, int kBlock, Observe kObserve>
void run(const WinogradPlan& plan, const ConvArgs& args) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const detail::RunTiles run_tiles(plan, args.x.samples);
  const int64_t blocks = run_tiles.blocks();
  const int64_t vectors = args.x.channel_pitch / lanes, groups = (args.y.channel_pitch + 2 * lanes - 1) / (2 * lanes);
#pragma omp parallel num_threads(plan.problem.threads)
  {
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const auto share = [thread, threads](int64_t n, int64_t which) { return n * (thread + which) / threads; };
    const Scratch scratch = scratch_of(plan, args.scratch, thread);
    if (plan.split_channels) {
      for (int64_t b = 0; b < blocks; ++b) {
        const TileBlock block = run_tiles.block(b);
        const int64_t end = share(block.tiles * vectors, 1);
        for (int64_t i = share(block.tiles * vectors, 0); i < end;) {
          const int64_t tile = i / vectors, from = i % vectors, to = std::min(vectors, from + end - i);
          start_tile<kGrid, kBlock>(plan, args, block, tile, from, to, scratch.v);
          i += to - from;
        }
#pragma omp barrier  // V is whole before anybody multiplies by it
        finish_block<kGrid, kBlock, kObserve>(plan, args, block, scratch, share(groups, 0), share(groups, 1),
                                              static_cast<int>(thread));
#pragma omp barrier  // nobody still reads V when the next block overwrites it
      }
    } else {
      if (plan.whole_u) {
        transform_groups<kGrid, kBlock>(plan, args.packed, share(groups, 0), share(groups, 1), scratch.u);
#pragma omp barrier  // nobody multiplies before
      }
      for (int64_t b = share(blocks, 0); b < share(blocks, 1); ++b) {
        const TileBlock block = run_tiles.block(b);
        for (int64_t tile = 0; tile < block.tiles; ++tile)
          start_tile<kGrid, kBlock>(plan, args, block, tile, 0, vectors, scratch.v);
        finish_block<kGrid, kBlock, kObserve>(plan, args, block, scratch, 0, groups, static_cast<int>(thread));
      }
    }
  }
}

template <int kGrid, int kBlock>
void run_observed_or_not(const WinogradPlan& plan, const ConvArgs& args) {
  switch (observe_what(args.sums)) {
    case Observe::kNothing:
      return run<kGrid, kBlock, Observe::kNothing>(plan, args);
    case Observe::kActivity:
      return run<kGrid, kBlock, Observe::kActivity>(plan, args);
    case Observe::kAll:
      return run<kGrid, kBlock, Observe::kAll>(plan, args);
  }
}

void WinogradRun(const WinogradPlan& plan, const ConvArgs& args) {
  const bool wide = plan.problem.layout == Layout::kNChw16c;
  if (plan.problem.tile == WinogradTile::k4x4) {
    wide ? run_observed_or_not<detail::kGrid4, 16>(plan, args) : run_observed_or_not<detail::kGrid4, 8>(plan, args);
  } else {
    wide ? run_observed_or_not<detail::kGrid2, 16>(plan, args) : run_observed_or_not<detail::kGrid2, 8>(plan, args);
  }
}

int64_t WinogradLanes(int64_t block) {
  return static_cast<int64_t>(block == 16 ? hn::Lanes(hn::CappedTag<float, 16>()) : hn::Lanes(hn::CappedTag<float, 8>()));
}
int64_t WinogradPanelRows() { return kPanelRows; }
const char* WinogradTargetName() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace elek::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels {
HWY_EXPORT(WinogradRun);
HWY_EXPORT(WinogradLanes);
HWY_EXPORT(WinogradPanelRows);
HWY_EXPORT(WinogradTargetName);

namespace detail {
int64_t winograd_lanes(int64_t block) { return HWY_DYNAMIC_DISPATCH(WinogradLanes)(block); }
int64_t winograd_panel_rows() { return HWY_DYNAMIC_DISPATCH(WinogradPanelRows)(); }
}  // namespace detail

const char* winograd_target() { return HWY_DYNAMIC_DISPATCH(WinogradTargetName)(); }

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
  HWY_DYNAMIC_DISPATCH(WinogradRun)(plan, args);
}

}  // namespace elek::kernels
#endif  // HWY_ONCE
