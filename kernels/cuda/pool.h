// SPDX-License-Identifier: Apache-2.0
// Pooling on the GPU, NHWC. One thread computes kVec channels of one output pixel. In global average pooling, a block computes
// a tile of channels of one sample. With totals, launch_observe reads the output again; it is 4 times smaller than the input
// and still in the L2 cache.
// Tests: tests/gpu/kernels/pool_test.cpp
#pragma once

#include "kernels/common/pool_window.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/channel_totals.h"

namespace elek::kernels::cuda {

/// The optional sums of y; totals null = none. The workspace has epilogue_workspace_bytes(y.samples, y.shape, totals->sets).
struct PoolSums {
  const ChannelTotals* totals = nullptr;
  void* workspace = nullptr;
  size_t workspace_bytes = 0;
};

/// y = maximum over the window, padding = -infinity; a NaN in the window wins (as in PyTorch).
/// Shapes    x, y: same type, samples and channels (pitches may differ) · Launches 1, or 3 with totals (kMoments unchanged)
/// Errors    ContractError: y's size does not follow from x's size and the window; padding * 2 > kernel; null data
void launch_max_pool(const CudaActivation& x, const CudaActivation& y, const PoolWindow& window, const PoolSums& sums,
                     cudaStream_t stream);

/// y = sum over the window / kernel^2, rounded once: padding counts in the divisor (PyTorch's default). f32 sums in window
/// order, rows first; exact for small integers.
void launch_avg_pool(const CudaActivation& x, const CudaActivation& y, const PoolWindow& window, const PoolSums& sums,
                     cudaStream_t stream);

/// y[n,c] = mean over all positions: chains of 8 f32 terms, then double in a fixed order, rounded once to y's type. y is N x C
/// x 1 x 1, of x's type or f32.
void launch_global_avg_pool(const CudaActivation& x, const CudaActivation& y, const PoolSums& sums, cudaStream_t stream);

}  // namespace elek::kernels::cuda
