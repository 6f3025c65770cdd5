// SPDX-License-Identifier: Apache-2.0
// channel_scale on the GPU: multiplies each channel of each sample by its own factor (squeeze-and-excitation).
// Tests: tests/gpu/kernels/layout_test.cpp
#pragma once

#include "kernels/cuda/activation.h"
#include "kernels/cuda/pool.h"

namespace elek::kernels::cuda {

/// y[n,c,p] = x[n,c,p] * s[n,c], in f32, rounded once to y's type
/// Shapes    s: C x 1 x 1; x and y: same shape, pitches may differ; all have the same type
/// Aliasing  y may be x · Launches 1, or 3 with totals (kMoments unchanged) · Padding lanes of y are zero
void launch_channel_scale(const CudaActivation& x, const CudaActivation& s, const CudaActivation& y, const PoolSums& sums,
                          cudaStream_t stream);

}  // namespace elek::kernels::cuda
