// SPDX-License-Identifier: Apache-2.0
// channel_map on the GPU: takes every stride-th position, and each output channel from a source channel given by a table
// (option-A shortcuts, masks).
// Tests: tests/gpu/kernels/layout_test.cpp
#pragma once

#include <span>

#include "kernels/cuda/activation.h"
#include "kernels/cuda/pool.h"

namespace elek::kernels::cuda {

/// ContractError unless every source < channels. Call it once with the host's table, before the table is uploaded.
void check_channel_map(std::span<const int32_t> source, int64_t channels);

/// y[n,d,p,q] = source[d] < 0 ? 0 : x[n, source[d], p * stride, q * stride]
/// Shapes    source: [y's channels], device; y's height = ceil(x's height / stride), width too; same type, pitches may differ
/// Safety    a source >= x's channels reads nothing and gives NaN; check_channel_map finds such a source earlier
/// Aliasing  none · Launches 1, or 3 with totals (kMoments unchanged) · Padding lanes of y are zero
void launch_channel_map(const CudaActivation& x, const int32_t* source, int64_t stride, const CudaActivation& y,
                        const PoolSums& sums, cudaStream_t stream);

}  // namespace elek::kernels::cuda
