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

#include "kernels/cpu/register_sums-inl.h"
#include "kernels/cpu/winograd.h"
#include "kernels/cpu/winograd_detail.h"

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

template <class D>
using Vec = hn::Vec<D>;

// ---- 1-D transforms: B^T and A^T of docs/winograd.md
constexpr float kA = 0.70710678118654752F, kB = 1.41421356237309505F, k15A = 1.06066017177982129F;  // k15A: 3a/2, rounded once

/// kTile outputs at kTile + 2 of a grid of points: F(4) and its edge tiles F(3) and F(2) at 0, +-a, +-b, infinity with
/// a = 1/sqrt(2), b = sqrt(2); F(2) by itself at 0, +-1, infinity.
template <int kGrid, int kTile>
struct Transform;

template <>
struct Transform<detail::kGrid4, 4> {
  static constexpr int kOutputs = 4, kGrid = detail::kGrid4;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D d, const V (&x)[6], V (&y)[6]) {
    const V m25 = hn::Set(d, -2.5F), a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V first = hn::MulAdd(m25, x[2], hn::Add(x[0], x[4])), last = hn::MulAdd(m25, x[3], hn::Add(x[1], x[5]));
    const V even_a = hn::NegMulAdd(two, x[2], x[4]), odd_a = hn::NegMulAdd(two, x[1], x[3]);
    const V even_b = hn::NegMulAdd(half, x[2], x[4]), odd_b = hn::NegMulAdd(half, x[1], x[3]);
    y[0] = first;  // x and y may be the same
    y[1] = hn::MulAdd(a, odd_a, even_a);
    y[2] = hn::NegMulAdd(a, odd_a, even_a);
    y[3] = hn::MulAdd(b, odd_b, even_b);
    y[4] = hn::NegMulAdd(b, odd_b, even_b);
    y[5] = last;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D d, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    const V a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V a3 = hn::Set(d, kA * 0.5F), b3 = hn::Set(d, kB * 2.0F);
    const V sa = hn::Add(m[from], m[2 * from]), da = hn::Sub(m[from], m[2 * from]);
    const V sb = hn::Add(m[3 * from], m[4 * from]), db = hn::Sub(m[3 * from], m[4 * from]);
    y[0] = hn::Add(m[0], hn::Add(sa, sb));
    y[to] = hn::MulAdd(b, db, hn::Mul(a, da));
    y[2 * to] = hn::MulAdd(two, sb, hn::Mul(half, sa));
    y[3 * to] = hn::Add(hn::MulAdd(b3, db, hn::Mul(a3, da)), m[5 * from]);
  }
};

template <>
struct Transform<detail::kGrid4, 3> {  // at +-a, +-b, infinity
  static constexpr int kOutputs = 3, kGrid = detail::kGrid4;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D d, const V (&x)[5], V (&y)[5]) {
    const V m25 = hn::Set(d, -2.5F), a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V last = hn::MulAdd(m25, x[2], hn::Add(x[0], x[4]));
    const V even_a = hn::MulSub(half, x[2], x[0]), odd_a = hn::NegMulAdd(two, x[1], x[3]);
    const V even_b = hn::MulSub(two, x[2], x[0]), odd_b = hn::NegMulAdd(half, x[1], x[3]);
    y[0] = hn::MulAdd(a, odd_a, even_a);  // x and y may be the same
    y[1] = hn::NegMulAdd(a, odd_a, even_a);
    y[2] = hn::MulAdd(b, odd_b, even_b);
    y[3] = hn::NegMulAdd(b, odd_b, even_b);
    y[4] = last;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D d, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    const V a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V sa = hn::Add(m[0], m[from]), da = hn::Sub(m[0], m[from]);
    const V sb = hn::Add(m[2 * from], m[3 * from]), db = hn::Sub(m[2 * from], m[3 * from]);
    y[0] = hn::Add(sa, sb);
    y[to] = hn::MulAdd(b, db, hn::Mul(a, da));
    y[2 * to] = hn::Add(hn::MulAdd(two, sb, hn::Mul(half, sa)), m[4 * from]);
  }
};

template <>
struct Transform<detail::kGrid4, 2> {  // at 0, +-a, infinity
  static constexpr int kOutputs = 2, kGrid = detail::kGrid4;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D d, const V (&x)[4], V (&y)[4]) {
    const V m15 = hn::Set(d, -1.5F), m15a = hn::Set(d, -k15A), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V first = hn::NegMulAdd(two, x[2], x[0]), last = hn::NegMulAdd(half, x[1], x[3]);
    const V even = hn::Mul(m15, x[2]), odd = x[1];
    y[0] = first;  // x and y may be the same
    y[1] = hn::MulAdd(m15a, odd, even);
    y[2] = hn::NegMulAdd(m15a, odd, even);
    y[3] = last;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D d, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    y[0] = hn::Add(m[0], hn::Add(m[from], m[2 * from]));
    y[to] = hn::MulAdd(hn::Set(d, kA), hn::Sub(m[from], m[2 * from]), m[3 * from]);
  }
};

template <>
struct Transform<detail::kGrid2, 2> {
  static constexpr int kOutputs = 2, kGrid = detail::kGrid2;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D, const V (&x)[4], V (&y)[4]) {
    const V first = hn::Sub(x[0], x[2]), second = hn::Add(x[1], x[2]), third = hn::Sub(x[2], x[1]);
    y[3] = hn::Sub(x[3], x[1]);
    y[0] = first;
    y[1] = second;
    y[2] = third;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    y[0] = hn::Add(m[0], hn::Add(m[from], m[2 * from]));
    y[to] = hn::Add(hn::Sub(m[from], m[2 * from]), m[3 * from]);
  }
};

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

// ---- step 2: M = V U, one small product a transform point
// ----------------------------------------------------------------------
/// m[r][0 … 2L) = sum over c of v[r][c] u[c][0 … 2L) for kRows rows. Meanwhile fetches `ahead`, the next panel of weights.
template <int kRows, class D>
HWY_INLINE void multiply_panel(D d, const float* HWY_RESTRICT v, int64_t v_stride, const float* HWY_RESTRICT u,
                               int64_t channels, const float* ahead, float* HWY_RESTRICT m) {
  using V = Vec<D>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  V acc0[kRows], acc1[kRows];
#pragma GCC unroll 14  // what is indexed by a variable, even once, lives in memory throughout
  for (int r = 0; r < kRows; ++r) acc0[r] = acc1[r] = hn::Zero(d);
  for (int64_t c = 0; c < channels; ++c) {
    const V u0 = hn::Load(d, u), u1 = hn::Load(d, u + lanes);
    hwy::Prefetch(ahead);
    hwy::Prefetch(ahead + lanes);
    u += 2 * lanes;
    ahead += 2 * lanes;
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

template <int kRows, class D>
HWY_INLINE void multiply_rows(D d, int64_t rows, const float* v, int64_t v_stride, const float* u, int64_t channels,
                              const float* ahead, float* m) {
  if constexpr (kRows > 0) {
    if (rows == kRows) {
      multiply_panel<kRows>(d, v, v_stride, u, channels, ahead, m);
    } else {
      multiply_rows<kRows - 1>(d, rows, v, v_stride, u, channels, ahead, m);
    }
  }
}

/// All points of one group of output channels for a block of tiles, at each point those that use it. Panels are balanced: 20
/// rows go as 10 + 10, not 14 + 6.
template <int kBlock>
HWY_NOINLINE void multiply(const WinogradPlan& plan, const TileBlock& block, const float* v, const float* u_group, float* m) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t out_lanes = 2 * static_cast<int64_t>(hn::Lanes(d)), channels = plan.problem.channels;
  const int64_t u_stride = channels * out_lanes;
  for (int64_t k = 0; k < block.used_points; ++k) {
    const detail::PointRows& at = block.points[static_cast<size_t>(k)];
    const float* u = u_group + at.point * u_stride;
    const float* next = k + 1 < block.used_points ? u_group + block.points[static_cast<size_t>(k + 1)].point * u_stride
                                                  : u_group + (plan.points + block.points[0].point) * u_stride;
    const float* v_point = v + block.v_at[static_cast<size_t>(at.point)] + at.first * plan.v_tile_stride;
    float* m_point = m + block.m_at[static_cast<size_t>(at.point)] + at.first * out_lanes;
    const int64_t panels = (at.rows + kPanelRows - 1) / kPanelRows;
    for (int64_t panel = 0, row = 0; panel < panels; ++panel) {
      const int64_t rows = (at.rows - row) / (panels - panel);
      const float* ahead = panel == 0 ? next : u;  // each weight is fetched ahead once, by the first panel
      multiply_rows<kPanelRows>(d, rows, v_point + row * plan.v_tile_stride, plan.v_tile_stride, u, channels, ahead,
                                m_point + row * out_lanes);
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

/// Steps 2 and 3 for output groups [first, last) over one block of tiles.
template <int kGrid, int kBlock, Observe kObserve>
void finish_block(const WinogradPlan& plan, const ConvArgs& args, const TileBlock& block, const float* v, float* m,
                  int64_t first_group, int64_t last_group, int thread) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), channels = plan.problem.channels;
  for (int64_t group = first_group; group < last_group; ++group) {
    multiply<kBlock>(plan, block, v, args.packed + group * plan.points * channels * 2 * lanes, m);
    for (int64_t vector = 0; vector < 2; ++vector) {
      OutputVector out{(group * 2 + vector) * lanes, vector * lanes, args.bias, {}};
      if (out.channel >= args.y.channel_pitch) break;
      if constexpr (kObserve != Observe::kNothing) out.sums = at_channel(args.sums->of_thread(thread), out.channel);
      for (int64_t tile = 0; tile < block.tiles; ++tile)
        with_transforms<kGrid>(block.places[static_cast<size_t>(tile)], [&](auto rows, auto columns) HWY_ATTR {
          transform_output<decltype(rows), decltype(columns), kBlock, kObserve>(plan, args, block, tile, out, m);
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
    if (plan.split_channels) {
      float* v = args.scratch;
      float* m = args.scratch + plan.v_floats + thread * plan.m_floats;
      for (int64_t b = 0; b < blocks; ++b) {
        const TileBlock block = run_tiles.block(b);
        const int64_t end = share(block.tiles * vectors, 1);
        for (int64_t i = share(block.tiles * vectors, 0); i < end;) {
          const int64_t tile = i / vectors, from = i % vectors, to = std::min(vectors, from + end - i);
          start_tile<kGrid, kBlock>(plan, args, block, tile, from, to, v);
          i += to - from;
        }
#pragma omp barrier  // V is whole before anybody multiplies by it
        finish_block<kGrid, kBlock, kObserve>(plan, args, block, v, m, share(groups, 0), share(groups, 1),
                                              static_cast<int>(thread));
#pragma omp barrier  // nobody still reads V when the next block overwrites it
      }
    } else {
      float* v = args.scratch + thread * (plan.v_floats + plan.m_floats);
      float* m = v + plan.v_floats;
      for (int64_t b = share(blocks, 0); b < share(blocks, 1); ++b) {
        const TileBlock block = run_tiles.block(b);
        for (int64_t tile = 0; tile < block.tiles; ++tile) start_tile<kGrid, kBlock>(plan, args, block, tile, 0, vectors, v);
        finish_block<kGrid, kBlock, kObserve>(plan, args, block, v, m, 0, groups, static_cast<int>(thread));
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
