// SPDX-License-Identifier: Apache-2.0
// How a pass over an NHWC activation is divided, for kernels that sum per channel. A block processes a tile of channels (128
// bytes wide) and one *slot*, a run of pixels. Of its kBlockThreads threads, `lanes` threads lie side by side across the
// channels (kVec each); the others take further pixels. Pixels form groups (one group of all pixels, or one per sample), and a
// group has `splits` slots. Nothing here depends on the device, so the order of additions is the same on every GPU. Only for
// .cu files.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/sums.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/device/vector.h"

namespace elek::kernels::cuda {

inline constexpr int64_t kMostBlocks = 1024;  // of one launch, unless there are more samples; fills 132 SMs about twice
inline constexpr int64_t kSlotRows = 64;      // shortest slot, except the last
inline constexpr int kMostTile = 64;          // channels

/// The division of pixels into slots. Slot s belongs to group s / splits.
struct Slots {
  int64_t groups = 1;
  int64_t group_rows = 0;
  int64_t splits = 1;
  int64_t split_rows = 0;
  [[nodiscard]] int64_t count() const { return groups * splits; }
};

__host__ __device__ inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Chooses the slots so that a launch has at most kMostBlocks blocks (of 64 channels).
inline Slots make_slots(int64_t groups, int64_t group_rows, int64_t channels) {
  const int64_t wanted = std::max<int64_t>(1, kMostBlocks / (ceil_div(channels, kMostTile) * groups));
  Slots s{groups, group_rows, 1, group_rows};
  s.split_rows = ceil_div(group_rows, std::min(wanted, ceil_div(group_rows, kSlotRows)));
  s.splits = ceil_div(group_rows, s.split_rows);
  return s;
}

/// An upper bound for the slots of make_slots(), for up to `groups` groups and up to group_rows rows.
inline int64_t most_slots(int64_t groups, int64_t group_rows, int64_t channels) {
  const int64_t blocks = std::max<int64_t>(1, kMostBlocks / ceil_div(channels, kMostTile));
  return std::max(groups, std::min(blocks, groups * ceil_div(group_rows, kSlotRows)));
}

/// Threads across channels: a power of two, together at most 128 bytes wide.
inline int tile_lanes(int64_t pitch, int vec, size_t element_bytes) {
  const int most = static_cast<int>(128 / (static_cast<size_t>(vec) * element_bytes));
  int lanes = 1;
  while (lanes < most && static_cast<int64_t>(lanes) * vec < pitch) lanes *= 2;
  return lanes;
}

/// The position of a thread in its tile. `lanes` must be a power of two.
struct TileThread {
  int64_t channel;  // first of its kVec channels
  int lane;         // index across channels
  int row;          // index of its first pixel in the slot
  int rows;         // threads along the pixels: the step between its pixels
};
template <int kVec>
__device__ inline TileThread tile_thread(int lanes, int64_t tile) {
  TileThread t{};
  t.lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  t.row = static_cast<int>(threadIdx.x) / lanes;
  t.rows = kBlockThreads / lanes;
  t.channel = (tile * lanes + t.lane) * kVec;
  return t;
}

struct RowRange {
  int64_t begin, end;
};
__device__ inline RowRange slot_rows(const Slots& slots, int64_t slot) {
  const int64_t group = slot / slots.splits, split = slot % slots.splits;
  const int64_t first = group * slots.group_rows, begin = split * slots.split_rows;
  const int64_t end = begin + slots.split_rows;
  return {first + begin, first + (end < slots.group_rows ? end : slots.group_rows)};
}

/// Shared doubles that reduce_tile needs: one row per warp and array.
template <int kArrays>
inline constexpr int kReduceDoubles = kArrays*(kBlockThreads / 32) * kMostTile;

/// Adds the values of a tile's threads along the pixels, in a fixed order: a tree inside each warp, then warps 0, 1, …. For
/// array kMaxArray it takes the maximum instead, in which NaN wins (-1: no such array). Then calls emit(array, channel in tile,
/// value) once for each array and channel. Every thread of the block must call this function once, because it contains one
/// __syncthreads().
template <int kArrays, int kVec, int kMaxArray, typename Emit>
__device__ inline void reduce_tile(double (&values)[kArrays][kVec], int lanes, double* shared, const Emit& emit) {
  const int tid = static_cast<int>(threadIdx.x), tile = lanes * kVec;
  for (int distance = 16; distance >= lanes; distance /= 2) {
#pragma unroll
    for (int a = 0; a < kArrays; ++a) {
#pragma unroll
      for (int i = 0; i < kVec; ++i) {
        const double other = __shfl_xor_sync(0xffffffffU, values[a][i], distance);
        values[a][i] = a == kMaxArray ? keep_larger(values[a][i], other) : values[a][i] + other;
      }
    }
  }
  // Lanes 0 … min(lanes, 32) - 1 of a warp hold its sums. If lanes > 32, a warp is part of one row.
  const int row_threads = lanes < 32 ? 32 : lanes, rows = kBlockThreads / row_threads;
  const int row = tid / row_threads, lane = tid % row_threads;
  if (lane < lanes) {
#pragma unroll
    for (int a = 0; a < kArrays; ++a) {
#pragma unroll
      for (int i = 0; i < kVec; ++i) shared[(a * rows + row) * tile + lane * kVec + i] = values[a][i];
    }
  }
  __syncthreads();
  for (int item = tid; item < kArrays * tile; item += kBlockThreads) {
    const int a = item / tile, c = item % tile;
    double total = shared[a * rows * tile + c];
    for (int r = 1; r < rows; ++r) {
      const double other = shared[(a * rows + r) * tile + c];
      total = a == kMaxArray ? keep_larger(total, other) : total + other;
    }
    emit(a, c, total);
  }
}

}  // namespace elek::kernels::cuda
