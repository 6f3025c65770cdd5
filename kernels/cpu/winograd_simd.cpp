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

// Rows of the micro-kernel: accumulators (2 a row) plus two weights and a broadcast must fit the registers: 32 or 16.
#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kPanelRows = 14;
#else
constexpr int kPanelRows = 6;
#endif

template <class D>
using Vec = hn::Vec<D>;

// ---- 1-D transforms
// ------------------------------------------------------------------------------------------------------------ F(4,3) at the
// points 0, +-a, +-b, infinity with a = 1/sqrt(2), b = sqrt(2): B^T and A^T of docs/winograd.md. F(2,3): 0, +-1, inf.
template <int kTile>
struct Transform;

template <>
struct Transform<4> {
  static constexpr float kA = 0.70710678118654752F, kB = 1.41421356237309505F;

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
struct Transform<2> {
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

// ---- step 1: input tiles to V
// --------------------------------------------------------------------------------------------------
/// Where a tile lies: sample and the top left of its output.
struct TilePlace {
  int64_t sample, row, column;
};
HWY_INLINE TilePlace place_of(const WinogradPlan& plan, int64_t tile) {
  const int64_t m = static_cast<int64_t>(plan.problem.tile), a_sample = plan.tiles_high * plan.tiles_wide;
  const int64_t in_sample = tile % a_sample;
  return {tile / a_sample, in_sample / plan.tiles_wide * m, in_sample % plan.tiles_wide * m};
}

/// Transforms vectors [first, last) of a tile's channels; out points at V's row of this tile. Meanwhile fetches the pixels that
/// the next tile to the right reads and this one does not.
template <int kTile, int kBlock>
void transform_input(const WinogradPlan& plan, const ActivationView<const float>& x, const TilePlace& place, int64_t first,
                     int64_t last, float* HWY_RESTRICT out) {
  const hn::CappedTag<float, kBlock> d;
  using V = Vec<decltype(d)>;
  constexpr int kN = kTile + 2;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), h = x.shape.height, w = x.shape.width;
  const int64_t top = place.row - plan.problem.padding, left = place.column - plan.problem.padding;
  const bool inside = top >= 0 && left >= 0 && top + kN <= h && left + kN <= w;
  const int64_t row_floats = w * kBlock, plane = h * row_floats;
  const int64_t fetched_rows = std::min<int64_t>(kN, h - top), fetched_end = std::min<int64_t>(kN + kTile, w - left);
  const float* sample = x.data + place.sample * (x.channel_pitch / kBlock) * plane;
  for (int64_t vector = first; vector < last; ++vector) {
    const int64_t channel = vector * lanes;
    const float* base = sample + channel / kBlock * plane + channel % kBlock + top * row_floats + left * kBlock;
    for (int64_t i = std::max<int64_t>(0, -top); i < fetched_rows; ++i)
      for (int64_t j = kN; j < fetched_end; ++j) hwy::Prefetch(base + i * row_floats + j * kBlock);
    V u[kN][kN];
    const auto transform_column = [&](int j, const auto& pixel) HWY_ATTR {
      V c[kN];
#pragma GCC unroll 6  // what is indexed by a variable, even once, lives in memory throughout
      for (int i = 0; i < kN; ++i) c[i] = pixel(i, j);
      Transform<kTile>::input(d, c, c);
#pragma GCC unroll 6
      for (int i = 0; i < kN; ++i) u[i][j] = c[i];
    };
    if (inside) {
#pragma GCC unroll 6
      for (int j = 0; j < kN; ++j)
        transform_column(j, [&](int i, int k) HWY_ATTR { return hn::Load(d, base + i * row_floats + k * kBlock); });
    } else {
      for (int j = 0; j < kN; ++j)
        transform_column(j, [&](int i, int k) HWY_ATTR {
          const bool there = top + i >= 0 && top + i < h && left + k >= 0 && left + k < w;
          return there ? hn::Load(d, base + i * row_floats + k * kBlock) : hn::Zero(d);
        });
    }
    float* to = out + channel;
#pragma GCC unroll 6
    for (int i = 0; i < kN; ++i) {
      V r[kN];
      Transform<kTile>::input(d, u[i], r);
#pragma GCC unroll 6
      for (int j = 0; j < kN; ++j, to += plan.v_point_stride) hn::Store(r[j], d, to);
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

/// All points of one group of output channels for `tiles` tiles. Panels are balanced: 20 rows go as 10 + 10, not 14 + 6.
template <int kBlock>
HWY_NOINLINE void multiply(const WinogradPlan& plan, const float* v, const float* u_group, int64_t tiles, float* m) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t out_lanes = 2 * static_cast<int64_t>(hn::Lanes(d)), channels = plan.problem.channels;
  const int64_t panels = (tiles + kPanelRows - 1) / kPanelRows;
  for (int64_t point = 0; point < plan.points; ++point) {
    const float* u = u_group + point * channels * out_lanes;
    const float* v_point = v + point * plan.v_point_stride;
    float* m_point = m + point * plan.m_point_stride;
    for (int64_t panel = 0, row = 0; panel < panels; ++panel) {
      const int64_t rows = (tiles - row) / (panels - panel);
      const float* ahead = panel == 0 ? u + channels * out_lanes : u;  // each weight is fetched ahead once, by the first panel
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
  const float* bias;
  SumArrays sums;  // this thread's, already moved to `channel`; nonfinite null = unobserved
};

template <int kTile, int kBlock, Observe kObserve>
HWY_INLINE void transform_output(const WinogradPlan& plan, const ConvArgs& args, const TilePlace& place,
                                 const OutputVector& out, const float* HWY_RESTRICT m) {
  const hn::CappedTag<float, kBlock> d;
  using V = Vec<decltype(d)>;
  constexpr int kN = kTile + 2;
  const int rows = static_cast<int>(std::min<int64_t>(kTile, plan.out_height - place.row));
  const int columns = static_cast<int>(std::min<int64_t>(kTile, plan.out_width - place.column));
  V t[kN * kN], u[kTile * kN], y[kTile * kTile];
  for (int p = 0; p < kN * kN; ++p) t[p] = hn::Load(d, m + p * plan.m_point_stride);
  for (int j = 0; j < kN; ++j) Transform<kTile>::output(d, t + j, kN, u + j, kN);
  for (int i = 0; i < kTile; ++i) Transform<kTile>::output(d, u + i * kN, 1, y + i * kTile, 1);

  const int64_t row_floats = plan.out_width * kBlock, plane = plan.out_height * row_floats;
  const int64_t at = (place.sample * (args.y.channel_pitch / kBlock) + out.channel / kBlock) * plane + out.channel % kBlock +
                     place.row * row_floats + place.column * kBlock;
  // Meanwhile fetch what the next tile to the right writes and adds.
  const int64_t fetched_end = std::min<int64_t>(2 * kTile, plan.out_width - place.column);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = kTile; j < fetched_end; ++j) {
      const int64_t here = at + i * row_floats + j * kBlock;
      hwy::Prefetch(args.y.data + here);
      if (args.residual.data != nullptr) hwy::Prefetch(args.residual.data + here);
    }
  const V bias = hn::Load(d, out.bias + out.channel), zero = hn::Zero(d);
  RegisterSums<decltype(d), kObserve> sums(d, kObserve != Observe::kNothing ? args.sums->threshold : 0.0F);
  for (int i = 0; i < kTile; ++i) {
    if (i >= rows) break;
    for (int j = 0; j < kTile; ++j) {
      if (j >= columns) break;
      const int64_t here = at + i * row_floats + j * kBlock;
      const V z = hn::Add(y[i * kTile + j], bias);
      V value = z;
      if (args.residual.data != nullptr) value = hn::Add(value, hn::Load(d, args.residual.data + here));
      if (args.relu) value = hn::IfThenElse(hn::Lt(value, zero), zero, value);  // not Max: NaN stays NaN
      hn::Store(value, d, args.y.data + here);
      sums.add(z, value);
    }
  }
  sums.add_all_to(d, out.sums, {args.y.data + at, rows, columns, row_floats, kBlock});
}

/// Steps 2 and 3 for output groups [first, last) over one block of tiles.
template <int kTile, int kBlock, Observe kObserve>
void finish_block(const WinogradPlan& plan, const ConvArgs& args, int64_t first_tile, int64_t tiles, const float* v, float* m,
                  int64_t first_group, int64_t last_group, int thread) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d)), channels = plan.problem.channels;
  for (int64_t group = first_group; group < last_group; ++group) {
    multiply<kBlock>(plan, v, args.packed + group * plan.points * channels * 2 * lanes, tiles, m);
    for (int64_t vector = 0; vector < 2; ++vector) {
      OutputVector out{(group * 2 + vector) * lanes, args.bias, {}};
      if (out.channel >= args.y.channel_pitch) break;
      if constexpr (kObserve != Observe::kNothing) out.sums = at_channel(args.sums->of_thread(thread), out.channel);
      for (int64_t tile = 0; tile < tiles; ++tile)
        transform_output<kTile, kBlock, kObserve>(plan, args, place_of(plan, first_tile + tile), out,
                                                  m + tile * 2 * lanes + vector * lanes);
    }
  }
}

template <int kTile, int kBlock, Observe kObserve>
void run(const WinogradPlan& plan, const ConvArgs& args) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t total = args.x.samples * plan.tiles_high * plan.tiles_wide, block = plan.block_tiles;
  const int64_t blocks = (total + block - 1) / block;
  const int64_t vectors = args.x.channel_pitch / lanes, groups = (args.y.channel_pitch + 2 * lanes - 1) / (2 * lanes);
  const int64_t v_floats = plan.points * plan.v_point_stride, m_floats = plan.points * plan.m_point_stride;
#pragma omp parallel num_threads(plan.problem.threads)
  {
    const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
    const auto share = [thread, threads](int64_t n, int64_t which) { return n * (thread + which) / threads; };
    if (plan.split_channels) {
      float* v = args.scratch;
      float* m = args.scratch + v_floats + thread * m_floats;
      for (int64_t b = 0; b < blocks; ++b) {
        const int64_t first = b * block, tiles = std::min(block, total - first);
        for (int64_t i = share(tiles * vectors, 0); i < share(tiles * vectors, 1);) {
          const int64_t tile = i / vectors, from = i % vectors, to = std::min(vectors, from + share(tiles * vectors, 1) - i);
          transform_input<kTile, kBlock>(plan, args.x, place_of(plan, first + tile), from, to, v + tile * plan.v_tile_stride);
          i += to - from;
        }
#pragma omp barrier  // V is whole before anybody multiplies by it
        finish_block<kTile, kBlock, kObserve>(plan, args, first, tiles, v, m, share(groups, 0), share(groups, 1),
                                              static_cast<int>(thread));
#pragma omp barrier  // nobody still reads V when the next block overwrites it
      }
    } else {
      float* v = args.scratch + thread * (v_floats + m_floats);
      float* m = v + v_floats;
      for (int64_t b = share(blocks, 0); b < share(blocks, 1); ++b) {
        const int64_t first = b * block, tiles = std::min(block, total - first);
        for (int64_t tile = 0; tile < tiles; ++tile)
          transform_input<kTile, kBlock>(plan, args.x, place_of(plan, first + tile), 0, vectors, v + tile * plan.v_tile_stride);
        finish_block<kTile, kBlock, kObserve>(plan, args, first, tiles, v, m, 0, groups, static_cast<int>(thread));
      }
    }
  }
}

template <int kTile, int kBlock>
void run_observed_or_not(const WinogradPlan& plan, const ConvArgs& args) {
  switch (observe_what(args.sums)) {
    case Observe::kNothing:
      return run<kTile, kBlock, Observe::kNothing>(plan, args);
    case Observe::kActivity:
      return run<kTile, kBlock, Observe::kActivity>(plan, args);
    case Observe::kAll:
      return run<kTile, kBlock, Observe::kAll>(plan, args);
  }
}

void WinogradRun(const WinogradPlan& plan, const ConvArgs& args) {
  const bool wide = plan.problem.layout == Layout::kNChw16c;
  if (plan.problem.tile == WinogradTile::k4x4) {
    wide ? run_observed_or_not<4, 16>(plan, args) : run_observed_or_not<4, 8>(plan, args);
  } else {
    wide ? run_observed_or_not<2, 16>(plan, args) : run_observed_or_not<2, 8>(plan, args);
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
