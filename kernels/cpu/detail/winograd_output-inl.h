// SPDX-License-Identifier: Apache-2.0
// Winograd's third step: transforms M to the outputs of a tile. Bias, residual, ReLU and the channel sums follow in registers.
// Compiled once per Highway target, hence the toggled guard.
// Tests: tests/kernels/winograd_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_WINOGRAD_OUTPUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_OUTPUT_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_OUTPUT_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_WINOGRAD_OUTPUT_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/cpu/detail/register_sums-inl.h"
#include "kernels/cpu/detail/winograd_tiles.h"
#include "kernels/cpu/detail/winograd_transforms-inl.h"
#include "kernels/cpu/winograd.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// What the epilogue of one vector of output channels needs, constant over a block of tiles.
struct OutputVector {
  int64_t channel;  // first of its L channels
  int64_t column;   // column of that channel in M
  const float* bias;
  SumArrays sums;  // of this thread, from `channel` on; nonfinite null = not watched
};

template <class Rows, class Columns, int kBlock, Observe kObserve>
void transform_output(const WinogradPlan& plan, const ConvArgs& args, const detail::TileBlock& block, int64_t tile,
                      const OutputVector& out, const float* HWY_RESTRICT m_block) {
  const hn::CappedTag<float, kBlock> d;
  using V = Vec<decltype(d)>;
  constexpr int kHigh = Rows::kOutputs + 2, kWide = Columns::kOutputs + 2;
  const detail::TilePlace& place = block.places[static_cast<size_t>(tile)];
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
  // Prefetch the outputs and the residuals of the next tile to the right.
  const int64_t fetched_end = std::min<int64_t>(2 * Columns::kOutputs, plan.out_width - place.column);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = Columns::kOutputs; j < fetched_end; ++j) {
      const int64_t here = at + i * row_floats + j * kBlock;
      hwy::Prefetch(args.y.data + here);
      if (args.residual.data != nullptr) hwy::Prefetch(args.residual.data + here);
    }
  const V bias = hn::Load(d, out.bias + out.channel);
  const V threshold = hn::Set(d, kObserve != Observe::kNothing ? args.sums->threshold : 0.0F);
  const bool relu = args.activation.is_relu(), clips = !args.activation.is_plain();
  const V zero = hn::Zero(d);
  RegisterSums<decltype(d), kObserve> sums(d);
  for (int i = 0; i < Rows::kOutputs; ++i) {
    if (i >= rows) break;
    for (int j = 0; j < Columns::kOutputs; ++j) {
      if (j >= columns) break;
      const int64_t here = at + i * row_floats + j * kBlock;
      const V z = hn::Add(y[i * Columns::kOutputs + j], bias);
      V value = z;
      if (args.residual.data != nullptr) value = hn::Add(value, hn::Load(d, args.residual.data + here));
      if (relu) value = hn::IfThenElse(hn::Lt(value, zero), zero, value);  // not Max: NaN stays NaN
      if (clips) {  // the bounds are read where they are needed: two more registers would cost every layer
        const V low = hn::Set(d, args.activation.lowest()), high = hn::Set(d, args.activation.highest());
        value = hn::IfThenElse(hn::Lt(value, low), low, hn::IfThenElse(hn::Gt(value, high), high, value));
      }
      hn::Store(value, d, args.y.data + here);
      sums.add(d, z, value, threshold);
    }
  }
  add_all_to(d, sums, out.sums, {args.y.data + at, rows, columns, row_floats, kBlock});
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_WINOGRAD_OUTPUT_INL_H_
