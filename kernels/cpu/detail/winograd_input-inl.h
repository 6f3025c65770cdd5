// SPDX-License-Identifier: Apache-2.0
// Winograd's first step: transforms the pixels that a tile reads into its points in V.
// Compiled once per Highway target, hence the toggled guard.
// Tests: tests/kernels/winograd_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_WINOGRAD_INPUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_INPUT_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_INPUT_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_WINOGRAD_INPUT_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/detail/winograd_tiles.h"
#include "kernels/cpu/detail/winograd_transforms-inl.h"
#include "kernels/cpu/winograd.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Transforms one tile of a block into V: vectors [first, last) of its channels. Meanwhile prefetches the pixels that the next
/// tile to the right reads and this one does not.
template <class Rows, class Columns, int kBlock>
void transform_input(const WinogradPlan& plan, const ActivationView<const float>& x, const detail::TileBlock& block,
                     int64_t tile, int64_t first, int64_t last, float* HWY_RESTRICT v) {
  const hn::CappedTag<float, kBlock> d;
  using V = Vec<decltype(d)>;
  constexpr int kHigh = Rows::kOutputs + 2, kWide = Columns::kOutputs + 2;
  const detail::TilePlace& place = block.places[static_cast<size_t>(tile)];
  float* HWY_RESTRICT out = v + tile * kBlock;
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
    float* HWY_RESTRICT to = out + channel / kBlock * block.v_plane + channel % kBlock;
    V u[kHigh][kWide];
    const auto transform_column = [&](int j, const auto& pixel) HWY_ATTR {
      V c[kHigh];
#pragma GCC unroll 6  // an array that is indexed by a variable is kept in memory: unroll
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
      for (int j = 0; j < kWide; ++j) hn::Store(r[j], d, to + block.v_at[place_in_grid<Rows, Columns>(i, j)]);
    }
  }
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_WINOGRAD_INPUT_INL_H_
