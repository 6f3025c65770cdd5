// SPDX-License-Identifier: Apache-2.0
// Winograd's second step: transforms the weights to U and computes M = V U, one small matrix product per transform point.
// Compiled once per Highway target, hence the toggled guard.
// Tests: tests/kernels/winograd_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_WINOGRAD_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_PRODUCTS_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_PRODUCTS_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_WINOGRAD_PRODUCTS_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/detail/panel_product-inl.h"
#include "kernels/cpu/detail/winograd_tiles.h"
#include "kernels/cpu/detail/winograd_transforms-inl.h"
#include "kernels/cpu/winograd.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// With at most this many tiles, weights are transformed in registers and U is not stored. The accumulators of one row of points
// and four more vectors must fit in the registers; 16 registers are too few.
#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kFewTiles = 4;
#else
constexpr int kFewTiles = 0;
#endif

/// Vectors of output channels in a group: two; one in the last group if the number of vectors is odd.
inline int64_t vectors_of(const WinogradPlan& plan, int64_t group) {
  return std::min<int64_t>(2, plan.out_vectors - 2 * group);
}

// ---- the weights to U

/// Rows of points are processed in pairs: the first with the last, and p with -p, whose transforms differ only in one sign.
template <int kGrid>
constexpr int row_of(int pair, int i) {
  return pair == 0 ? i * (kGrid - 1) : 2 * pair - 1 + i;
}

/// t[i][0 … 3) = row i of a pair of rows of G w, for one input channel and one vector of output channels.
/// w: nine taps, `stride` floats apart
template <int kGrid, int kPair, class D, class V = Vec<D>>
HWY_INLINE void transform_columns(D d, const float* HWY_RESTRICT w, int64_t stride, V (&t)[2][3]) {
  constexpr auto& kRow = WeightTransform<kGrid>::kRows[row_of<kGrid>(kPair, 0)];
#pragma GCC unroll 3
  for (int j = 0; j < 3; ++j) {
    const auto tap = [&](int i) HWY_ATTR { return hn::Load(d, w + (3 * i + j) * stride); };
    if constexpr (kPair == 0) {
      t[0][j] = tap(0);
      t[1][j] = tap(2);
    } else {
      const V even = hn::MulAdd(hn::Set(d, kRow[2]), tap(2), hn::Mul(hn::Set(d, kRow[0]), tap(0)));
      t[0][j] = hn::MulAdd(hn::Set(d, kRow[1]), tap(1), even);
      t[1][j] = hn::NegMulAdd(hn::Set(d, kRow[1]), tap(1), even);
    }
  }
}

/// U = G w G^T at the two rows of points of a pair, for `channels` input channels and the first `vectors` vectors of a group of
/// output channels.
/// w: [channels][9][2L] -> u[i]: row i of the pair, kGrid points, u_stride floats apart, each [channels][2L]
template <int kGrid, int kPair, class D>
HWY_NOINLINE void transform_weights(D d, const float* HWY_RESTRICT w, int64_t channels, int64_t vectors, float* const (&u)[2],
                                    int64_t u_stride) {
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), out_lanes = 2 * lanes;
  for (int64_t c = 0; c < channels; ++c, w += 9 * out_lanes)
    for (int64_t at = 0; at < vectors * lanes; at += lanes) {
      Vec<D> t[2][3], y[kGrid];
      transform_columns<kGrid, kPair>(d, w + at, out_lanes, t);
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        WeightTransform<kGrid>::points(d, t[i], y);
#pragma GCC unroll 6
        for (int j = 0; j < kGrid; ++j) hn::Store(y[j], d, u[i] + j * u_stride + c * out_lanes + at);
      }
    }
}

/// The whole of U: [group][kGrid * kGrid][channels][2L].
template <int kGrid, int kBlock>
void transform_all_weights(const WinogradPlan& plan, const float* packed, float* u) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t channels = plan.problem.channels, row_floats = kGrid * plan.u_stride;
  for (int64_t group = 0; group < plan.groups; ++group, u += kGrid * row_floats) {
    for (int pair = 0; pair < kGrid / 2; ++pair)
      with_constant<kGrid / 2>(pair, [&](auto at) HWY_ATTR {
        float* const to[2] = {u + row_of<kGrid>(at, 0) * row_floats, u + row_of<kGrid>(at, 1) * row_floats};
        transform_weights<kGrid, at>(d, packed, channels, vectors_of(plan, group), to, plan.u_stride);
      });
    packed += channels * 9 * 2 * static_cast<int64_t>(hn::Lanes(d));
  }
}

// ---- M = V U

/// The transformed weights of a product, and the weights to prefetch for the next one.
struct Weights {
  const float* u;     // [channels][2L] of point 0; not dereferenced if U does not contain point 0
  int64_t stride;     // floats between points
  int64_t channels;   // input channels to sum over
  int64_t vectors;    // vectors of output channels: 1 or 2
  const float* next;  // first float to prefetch
  int64_t next_step;  // floats to prefetch per channel and point
};

/// m[r][0 … kVectors L) (+)= sum over c of v[r][c] u[c][0 … kVectors L) for kRows rows.
/// Shapes    m: [kRows][2L]
template <int kRows, int kVectors, int kBlock, bool kAdds>
HWY_NOINLINE void multiply_tiles(const Operands& o, float* HWY_RESTRICT m) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), out_lanes = 2 * lanes;
  Vec<decltype(d)> acc[kVectors][kRows];
#pragma GCC unroll 2  // an array that is indexed by a variable is kept in memory, not in registers: unroll
  for (int i = 0; i < kVectors; ++i)
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) acc[i][r] = kAdds ? hn::Load(d, m + r * out_lanes + i * lanes) : hn::Zero(d);
  accumulate<kRows, kVectors, kBlock>(o, acc);
#pragma GCC unroll 2
  for (int i = 0; i < kVectors; ++i)
#pragma GCC unroll 14
    for (int r = 0; r < kRows; ++r) hn::Store(acc[i][r], d, m + r * out_lanes + i * lanes);
}

/// Points [first, last) of the points that a block of tiles uses, for one group of output channels. Panels are balanced: 20
/// rows are divided into 10 + 10, not 14 + 6.
template <int kBlock, int kVectors, bool kAdds>
HWY_NOINLINE void multiply_points(const detail::TileBlock& block, int64_t first, int64_t last, const float* v, const Weights& w,
                                  float* m) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t out_lanes = 2 * static_cast<int64_t>(hn::Lanes(d));
  const int64_t planes = (w.channels + kBlock - 1) / kBlock, last_channels = w.channels - (planes - 1) * kBlock;
  const int64_t lines = (kBlock * w.next_step + kLineFloats - 1) / kLineFloats;
  for (int64_t k = first; k < last; ++k) {
    const detail::PointRows& at = block.points[static_cast<size_t>(k)];
    const float* v_point = v + block.v_at[static_cast<size_t>(at.point)] + at.first * kBlock;
    float* m_point = m + block.m_at[static_cast<size_t>(at.point)] + at.first * out_lanes;
    const int64_t panels = (at.rows + kPanelRows - 1) / kPanelRows;
    for (int64_t panel = 0, row = 0; panel < panels; ++panel) {
      const int64_t rows = (at.rows - row) / (panels - panel);
      const float* x = v_point + row * kBlock;
      // Points lie one after the other in V, so the next panel's rows always follow this panel's. The first panel of a point
      // prefetches the next weights, so each is prefetched once.
      const Operands o{.x = {x, block.v_plane, planes, planes, last_channels},
                       .weights = w.u + at.point * w.stride,
                       .x_ahead = x + rows * kBlock,
                       .lines_ahead = w.next + k * w.channels * w.next_step,
                       .lines_a_plane = panel == 0 ? lines : 0,
                       .results = {}};
      with_constant<kPanelRows>(
          rows - 1, [&](auto i) HWY_ATTR { multiply_tiles<i + 1, kVectors, kBlock, kAdds>(o, m_point + row * out_lanes); });
      row += rows;
    }
  }
}

template <int kBlock, bool kAdds>
void multiply(const detail::TileBlock& block, int64_t first, int64_t last, const float* v, const Weights& w, float* m) {
  if (w.vectors == 2) {
    multiply_points<kBlock, 2, kAdds>(block, first, last, v, w, m);
  } else {
    multiply_points<kBlock, 1, kAdds>(block, first, last, v, w, m);
  }
}

/// One point: the first row in V and in M of the tiles of a block that use it.
struct FewRows {
  const float* v;
  float* m;
  int64_t rows;
};

/// m (+)= v U at one row of points, for one vector of output channels and few tiles. Accumulators and transformed weights are
/// all in registers. Meanwhile prefetches from `ahead` on.
template <int kGrid, int kRow, int kBlock, bool kAdds, class D>
HWY_NOINLINE void multiply_few_tiles(D d, const float* HWY_RESTRICT w, int64_t channels, const FewRows (&at)[kGrid],
                                     int64_t v_plane, const float* ahead) {
  using V = Vec<D>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), out_lanes = 2 * lanes, ahead_step = 9 * lanes / kGrid;
  V acc[kGrid][kFewTiles];
#pragma GCC unroll 6  // an array that is indexed by a variable is kept in memory, not in registers: unroll
  for (int j = 0; j < kGrid; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < kFewTiles; ++r)
      acc[j][r] = kAdds && r < at[j].rows ? hn::Load(d, at[j].m + r * out_lanes) : hn::Zero(d);
  for (int64_t c = 0; c < channels; ++c, w += 9 * out_lanes, ahead += ahead_step) {
    const int64_t in_v = c / kBlock * v_plane + c % kBlock;
    constexpr int kPair = kRow == kGrid - 1 ? 0 : (kRow + 1) / 2, kOfPair = kRow == row_of<kGrid>(kPair, 0) ? 0 : 1;
    V t[2][3], u[kGrid];
    transform_columns<kGrid, kPair>(d, w, out_lanes, t);
    WeightTransform<kGrid>::points(d, t[kOfPair], u);
    for (int64_t i = 0; i < ahead_step; i += kLineFloats) hwy::Prefetch(ahead + i);
#pragma GCC unroll 6
    for (int j = 0; j < kGrid; ++j)
#pragma GCC unroll 4
      for (int r = 0; r < kFewTiles; ++r)
        if (r < at[j].rows) acc[j][r] = hn::MulAdd(hn::Set(d, at[j].v[in_v + r * kBlock]), u[j], acc[j][r]);
  }
#pragma GCC unroll 6
  for (int j = 0; j < kGrid; ++j)
#pragma GCC unroll 4
    for (int r = 0; r < kFewTiles; ++r)
      if (r < at[j].rows) hn::Store(acc[j][r], d, at[j].m + r * out_lanes);
}

/// The scratch memory of one thread.
struct Scratch {
  float* v;  // of this thread, or shared by all
  float* m;
  float* u;  // of all groups, or of one chunk of one group, or empty
};

/// M of one group of output channels, with the whole of U.
template <int kBlock>
void multiply_by_whole_u(const WinogradPlan& plan, const detail::TileBlock& block, int64_t group, const Scratch& scratch) {
  const float* u = scratch.u + group * plan.points * plan.u_stride;
  multiply<kBlock, false>(block, 0, block.used_points, scratch.v,
                          {u, plan.u_stride, plan.problem.channels, vectors_of(plan, group), u + plan.u_stride,
                           plan.u_stride / plan.problem.channels},
                          scratch.m);
}

/// The same in chunks. Computes U at two rows of points of one chunk of input channels, and uses it at once while it is in the
/// caches. So only the given weights are read from memory, for F(4x4) a quarter of U's bytes.
template <int kGrid, int kBlock>
void multiply_by_chunks(const WinogradPlan& plan, const float* packed, const detail::TileBlock& block, int64_t group,
                        const Scratch& scratch) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t out_lanes = 2 * static_cast<int64_t>(hn::Lanes(d)), channels = plan.problem.channels;
  const int64_t vectors = vectors_of(plan, group), step = (9 * out_lanes + block.used_points - 1) / block.used_points;
  int64_t ends[kGrid + 1] = {};  // ends[i + 1]: end of row i in the block's list of points
  for (int64_t k = 0; k < block.used_points; ++k) ends[block.points[static_cast<size_t>(k)].point / kGrid + 1] = k + 1;
  for (int row = 1; row <= kGrid; ++row) ends[row] = std::max(ends[row], ends[row - 1]);
  const float* w = packed + group * channels * 9 * out_lanes;
  float* const u[2] = {scratch.u, scratch.u + kGrid * plan.u_stride};
  for (int64_t from = 0; from < channels; from += plan.chunk_channels) {
    const int64_t count = std::min(plan.chunk_channels, channels - from), floats = count * out_lanes;
    for (int pair = 0; pair < kGrid / 2; ++pair) {
      with_constant<kGrid / 2>(pair,
                               [&](auto at) HWY_ATTR { transform_weights<kGrid, at>(d, w, count, vectors, u, plan.u_stride); });
      for (int i = 0; i < 2; ++i) {
        const int row = row_of<kGrid>(pair, i);
        const Weights weights{u[i] - row * kGrid * plan.u_stride, plan.u_stride, count, vectors, w + 9 * floats, step};
        if (from == 0) {
          multiply<kBlock, false>(block, ends[row], ends[row + 1], scratch.v, weights, scratch.m);
        } else {
          multiply<kBlock, true>(block, ends[row], ends[row + 1], scratch.v + from / kBlock * block.v_plane, weights,
                                 scratch.m);
        }
      }
    }
    w += 9 * floats;
  }
}

/// The same for few tiles, without U, because storing a transformed weight and loading it again would take longer than
/// multiplying by it. Every row of points reads the weights again; chunks keep them in the cache meanwhile.
template <int kGrid, int kBlock>
void multiply_in_registers(const WinogradPlan& plan, const float* packed, const detail::TileBlock& block, int64_t group,
                           const Scratch& scratch) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), out_lanes = 2 * lanes, channels = plan.problem.channels;
  FewRows points[kGrid][kGrid] = {};
  for (int64_t k = 0; k < block.used_points; ++k) {
    const detail::PointRows& at = block.points[static_cast<size_t>(k)];
    const auto point = static_cast<size_t>(at.point);
    points[at.point / kGrid][at.point % kGrid] = {scratch.v + block.v_at[point] + at.first * kBlock,
                                                  scratch.m + block.m_at[point] + at.first * out_lanes, at.rows};
  }
  const float* w = packed + group * channels * 9 * out_lanes;
  for (int64_t from = 0; from < channels; from += plan.chunk_channels) {
    const int64_t count = std::min(plan.chunk_channels, channels - from);
    const float* ahead = w + count * 9 * out_lanes;
    for (int64_t vector = 0; vector < vectors_of(plan, group); ++vector)
      for (int64_t row = 0; row < kGrid; ++row, ahead += count * 9 * lanes / kGrid) {
        FewRows at[kGrid];
        for (int j = 0; j < kGrid; ++j) {
          at[j] = points[row][j];
          if (at[j].rows == 0) continue;
          at[j].v += from / kBlock * block.v_plane;
          at[j].m += vector * lanes;
        }
        with_constant<kGrid>(row, [&](auto r) HWY_ATTR {
          const float* taps = w + vector * lanes;
          if (from == 0) {
            multiply_few_tiles<kGrid, r, kBlock, false>(d, taps, count, at, block.v_plane, ahead);
          } else {
            multiply_few_tiles<kGrid, r, kBlock, true>(d, taps, count, at, block.v_plane, ahead);
          }
        });
      }
    w += count * 9 * out_lanes;
  }
}

/// M of a block of tiles for one group of output channels. All variants give the same bits.
template <int kGrid, int kBlock>
void multiply_group(const WinogradPlan& plan, const float* packed, const detail::TileBlock& block, int64_t group,
                    const Scratch& scratch) {
  if (plan.whole_u) return multiply_by_whole_u<kBlock>(plan, block, group, scratch);
  if constexpr (kFewTiles > 0) {
    if (block.tiles <= kFewTiles) return multiply_in_registers<kGrid, kBlock>(plan, packed, block, group, scratch);
  }
  multiply_by_chunks<kGrid, kBlock>(plan, packed, block, group, scratch);
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_WINOGRAD_PRODUCTS_INL_H_
