// SPDX-License-Identifier: Apache-2.0
// If cuDNN's kernels took the sums of a pass, they are in a slab of f32. One small kernel for all layers adds that slab to the
// double and int64 totals. The slab is set to zero before each pass (one memset), so its maxima start at 0. This is correct for
// values stored by a ReLU, the only use here. A count in f32 is exact up to 2^24 positions per pass; the caller must not exceed
// that.
// Tests: tests/gpu/kernels/slab_test.cpp
#pragma once

#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

enum class SlabOp : int32_t {
  kAddToDouble,     // double to[c] += from[c]                      sums
  kAddToCount,      // int64  to[c] += llrint(from[c])              counts; values that are not finite or negative add nothing
  kMaxToDouble,     // double to[c]  = max(to[c], from[c]), NaN wins
  kCountNonfinite,  // int64  to[c] += from[c] is NaN or infinite   a lower bound: counts passes, not values
};

/// One array of one layer. A table of these entries is in device memory, written once when the session is bound.
struct SlabEntry {
  const float* from = nullptr;  // [channels] in the slab (device)
  void* to = nullptr;           // [channels] double or int64 totals (device); no two entries share one
  int64_t channels = 0;
  SlabOp op = SlabOp::kAddToDouble;
  int32_t reserved = 0;
};

/// Adds every entry. `entries`: device table of `count` entries (at most 65535); `most_channels` >= every entry's channels.
/// Numerics  one double addition per channel, otherwise exact · Launches 1 · Errors ContractError: null table, sizes
void launch_accumulate_slab(const SlabEntry* entries, int64_t count, int64_t most_channels, cudaStream_t stream);

}  // namespace elek::kernels::cuda
