// SPDX-License-Identifier: Apache-2.0
// After a pass whose sums were taken inside cuDNN's kernels: adds the f32 slab of that launch to the double and int64 totals,
// one small kernel for all layers. The slab is zeroed before every pass (one memset), so its maxima start at 0: right for what
// a ReLU stored, and the only use here. A count summed in f32 is exact up to 2^24 positions a pass; the caller keeps to that.
// Tests: tests/gpu/kernels/slab_test.cpp
#pragma once

#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

enum class SlabOp : int32_t {
  kAddToDouble,     // double to[c] += from[c]                      sums
  kAddToCount,      // int64  to[c] += llrint(from[c])              counts; what is not finite or negative adds nothing
  kMaxToDouble,     // double to[c]  = max(to[c], from[c]), NaN wins
  kCountNonfinite,  // int64  to[c] += from[c] is NaN or infinite   a lower bound: how many passes held one, not how many values
};

/// One array of one layer. A table of them lies in device memory, written once when the session is bound.
struct SlabEntry {
  const float* from = nullptr;  // [channels] in the slab (device)
  void* to = nullptr;           // [channels] double or int64 totals (device); no two entries share one
  int64_t channels = 0;
  SlabOp op = SlabOp::kAddToDouble;
  int32_t reserved = 0;
};

/// Adds every entry. `entries`: device table of `count` entries (at most 65535); `most_channels` >= every entry's channels.
/// Numerics  one double addition a channel: exact but for that · Launches 1 · Errors ContractError: null table, sizes
void launch_accumulate_slab(const SlabEntry* entries, int64_t count, int64_t most_channels, cudaStream_t stream);

}  // namespace elek::kernels::cuda
