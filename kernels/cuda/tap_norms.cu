// SPDX-License-Identifier: Apache-2.0
// See tap_norms.h. A block processes one (row class, column class) pair, one of `splits` shares of its pixels over all samples,
// and one tile of channels. The inner pair has nearly all pixels, border pairs have few. A second kernel adds the partial sums
// [pair][split][channel] to the accumulators, in order.
#include <algorithm>
#include <string>

#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/tap_norms.h"
#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

constexpr int kChain = 8;          // f32 squares per chain: gives the error bound of tap_norms.h
constexpr float kLarge = 0x1p40F;  // larger values and NaN are squared in double

struct TapArgs {
  const void* x;
  const int32_t* tables;
  double* partial;
  int64_t pitch, channels, height, width;
  int32_t samples, row_classes, column_classes, splits;
  int lanes;
};

/// The pixels of one pair, ordered by sample, row of the row class, column of the column class.
struct PairPixels {
  const int32_t* rows;
  const int32_t* columns;
  unsigned row_count, column_count;
};
__device__ inline PairPixels pair_pixels(const TapArgs& args, int pair) {
  const int row_class = pair / args.column_classes, column_class = pair % args.column_classes;
  const int32_t* const row_begins = args.tables;
  const int32_t* const column_begins = row_begins + args.row_classes + 1;
  const int32_t* const rows = column_begins + args.column_classes + 1;
  const int32_t* const columns = rows + row_begins[args.row_classes];
  return {rows + row_begins[row_class], columns + column_begins[column_class],
          static_cast<unsigned>(row_begins[row_class + 1] - row_begins[row_class]),
          static_cast<unsigned>(column_begins[column_class + 1] - column_begins[column_class])};
}

/// blockIdx.x = pair * splits + split, blockIdx.y = tile of channels. No thread returns before the barrier in reduce_tile.
template <typename T, int kVec>
__global__ void __launch_bounds__(kBlockThreads) tap_norms_kernel(TapArgs args) {
  ELEK_SHARED(double, shared, kReduceDoubles<1>);
  const int pair = static_cast<int>(blockIdx.x) / args.splits, split = static_cast<int>(blockIdx.x) % args.splits;
  const TileThread at = tile_thread<kVec>(args.lanes, blockIdx.y);
  const PairPixels pixels = pair_pixels(args, pair);
  const int64_t count = static_cast<int64_t>(args.samples) * pixels.row_count * pixels.column_count;
  const int64_t share = ceil_div(count, args.splits), begin = split * share;
  const int64_t end = begin + share < count ? begin + share : count;
  double totals[1][kVec] = {};
  float chain[kVec] = {};
  int chained = 0;
  const int64_t first = at.channel < args.pitch ? begin + at.row : end;
  for (int64_t i = first; i < end; i += at.rows) {
    const auto index = static_cast<unsigned>(i);  // < 2^31, checked by the launcher: 32-bit divisions
    const unsigned line = index / pixels.column_count, n = line / pixels.row_count;
    const int64_t h = pixels.rows[line % pixels.row_count], w = pixels.columns[index % pixels.column_count];
    float x[kVec];
    load_vector<kVec>(static_cast<const T*>(args.x) + ((n * args.height + h) * args.width + w) * args.pitch + at.channel, x);
#pragma unroll
    for (int c = 0; c < kVec; ++c) {
      if (fabsf(x[c]) <= kLarge) {
        chain[c] = fmaf(x[c], x[c], chain[c]);
      } else {
        totals[0][c] += static_cast<double>(x[c]) * static_cast<double>(x[c]);
      }
    }
    if (++chained < kChain) continue;
    chained = 0;
#pragma unroll
    for (int c = 0; c < kVec; ++c) {
      totals[0][c] += static_cast<double>(chain[c]);
      chain[c] = 0.0F;
    }
  }
#pragma unroll
  for (int c = 0; c < kVec; ++c) totals[0][c] += static_cast<double>(chain[c]);
  double* const partial = args.partial + static_cast<int64_t>(blockIdx.x) * args.channels;
  const int64_t tile = static_cast<int64_t>(blockIdx.y) * args.lanes * kVec;
  reduce_tile<1, kVec, -1>(totals, args.lanes, shared, [&](int, int c, double value) {
    if (tile + c < args.channels) partial[tile + c] = value;
  });
}

/// One thread per accumulator; adds the splits in order.
__global__ void __launch_bounds__(kBlockThreads)
    add_tap_norms_kernel(const double* __restrict__ partial, int splits, int64_t channels, double* __restrict__ accumulators) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x, pair = blockIdx.y;
  if (c >= channels) return;  // no barrier below
  double sum = 0;
#pragma unroll 8
  for (int s = 0; s < splits; ++s) sum += partial[(pair * splits + s) * channels + c];
  accumulators[pair * channels + c] += sum;
}

/// Shares per pair. A quarter of kMostBlocks blocks (of 64 channels) per pair; no share of the inner pair is shorter than
/// kSlotRows.
int64_t split_count(const TapNormPlan& plan, int64_t samples) {
  const int64_t wanted = std::max<int64_t>(1, kMostBlocks / 4 / ceil_div(plan.input.channels, kMostTile));
  return std::min(wanted, ceil_div(samples * plan.input.positions(), kSlotRows));
}

template <typename T, int kVec>
void launch_pass(TapArgs args, int64_t pairs, cudaStream_t stream) {
  args.lanes = tile_lanes(args.pitch, kVec, sizeof(T));
  const int64_t tiles = ceil_div(args.pitch, static_cast<int64_t>(args.lanes) * kVec);
  ELEK_CHECK(tiles <= 65535, "tap_norms: " + std::to_string(tiles) + " channel tiles, more than a grid holds");
  auto* const kernel = tap_norms_kernel<T, kVec>;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(pairs * args.splits), static_cast<unsigned>(tiles)), dim3(kBlockThreads), 0,
              stream, args);
  check_launch("tap_norms_kernel");
}

}  // namespace

size_t tap_norm_workspace_bytes(const TapNormPlan& plan, int64_t samples) {
  ELEK_CHECK(samples >= 1, "tap norms: " + std::to_string(samples) + " samples");
  return tap_norm_bytes(plan) * static_cast<size_t>(split_count(plan, samples));
}

void launch_tap_norms(const CudaActivation& x, const TapNormPlan& plan, const int32_t* tables, double* accumulators,
                      void* workspace, size_t workspace_bytes, cudaStream_t stream) {
  constexpr const char* kOp = "tap_norms";
  check_activation(x, kOp, "x");
  ELEK_CHECK(x.shape == plan.input && plan.pairs() >= 1,
             std::string(kOp) + ": x is " + to_string(x.shape) + ", the plan is for " + to_string(plan.input));
  ELEK_CHECK(x.rows() <= INT32_MAX, std::string(kOp) + ": " + std::to_string(x.rows()) + " pixels, expected fewer than 2^31");
  ELEK_CHECK(tables != nullptr && accumulators != nullptr, std::string(kOp) + ": tables or accumulators are missing");
  const size_t needed = tap_norm_workspace_bytes(plan, x.samples);
  ELEK_CHECK(workspace != nullptr && reinterpret_cast<uintptr_t>(workspace) % 8 == 0 && workspace_bytes >= needed,
             std::string(kOp) + ": a workspace of " + std::to_string(workspace_bytes) + " bytes, expected " +
                 std::to_string(needed) + ", aligned to 8");
  TapArgs args{};
  args.x = x.data, args.tables = tables, args.partial = static_cast<double*>(workspace);
  args.pitch = x.channel_pitch, args.channels = x.shape.channels, args.height = x.shape.height, args.width = x.shape.width;
  args.samples = static_cast<int32_t>(x.samples);
  args.row_classes = static_cast<int32_t>(plan.row_class_taps.size());
  args.column_classes = static_cast<int32_t>(plan.column_class_taps.size());
  args.splits = static_cast<int32_t>(split_count(plan, x.samples));
  with_type(x.dtype, kOp, [&](auto type) {
    using T = typename decltype(type)::type;
    if (vectors_fit(x.data, x.channel_pitch, kFullVector<T>, sizeof(T))) {
      launch_pass<T, kFullVector<T>>(args, plan.pairs(), stream);
    } else {
      launch_pass<T, 1>(args, plan.pairs(), stream);
    }
  });
  auto* const kernel = add_tap_norms_kernel;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(ceil_div(args.channels, kBlockThreads)), static_cast<unsigned>(plan.pairs())),
              dim3(kBlockThreads), 0, stream, args.partial, args.splits, args.channels, accumulators);
  check_launch("add_tap_norms_kernel");
}

}  // namespace elek::kernels::cuda
