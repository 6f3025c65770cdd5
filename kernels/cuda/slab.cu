// SPDX-License-Identifier: Apache-2.0
// See slab.h. A block processes 256 channels of one entry, one thread per channel, so no atomics are needed.
#include <string>

#include "kernels/cuda/device/tiles.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/slab.h"
#include "core/error.h"
#include "core/sums.h"

namespace elek::kernels::cuda {
namespace {

__global__ void __launch_bounds__(kBlockThreads) accumulate_slab_kernel(const SlabEntry* __restrict__ entries) {
  const SlabEntry entry = entries[blockIdx.y];
  const int64_t c = static_cast<int64_t>(blockIdx.x) * kBlockThreads + threadIdx.x;
  if (c >= entry.channels) return;  // no barrier below
  const float value = entry.from[c];
  const bool finite = fabsf(value) <= kLargestF32;
  auto* const reals = static_cast<double*>(entry.to);
  auto* const counts = static_cast<int64_t*>(entry.to);
  switch (entry.op) {
    case SlabOp::kAddToDouble:
      reals[c] += static_cast<double>(value);
      break;
    case SlabOp::kAddToCount:
      if (finite && value > 0.0F) counts[c] += llrintf(value);
      break;
    case SlabOp::kMaxToDouble:
      reals[c] = keep_larger(reals[c], static_cast<double>(value));
      break;
    case SlabOp::kCountNonfinite:
      counts[c] += finite ? 0 : 1;
      break;
  }
}

}  // namespace

void launch_accumulate_slab(const SlabEntry* entries, int64_t count, int64_t most_channels, cudaStream_t stream) {
  ELEK_CHECK(entries != nullptr && count >= 1 && count <= 65535 && most_channels >= 1,
             "accumulate_slab: " + std::to_string(count) + " entries of up to " + std::to_string(most_channels) +
                 " channels, expected a table of 1 … 65535 entries");
  const int64_t blocks = ceil_div(most_channels, kBlockThreads);
  ELEK_CHECK(blocks <= INT32_MAX, "accumulate_slab: " + std::to_string(most_channels) + " channels, more than a grid holds");
  auto* const kernel = accumulate_slab_kernel;
  ELEK_LAUNCH(kernel, dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(count)), dim3(kBlockThreads), 0, stream,
              entries);
  check_launch("accumulate_slab_kernel");
}

}  // namespace elek::kernels::cuda
