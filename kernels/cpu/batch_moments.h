// SPDX-License-Identifier: Apache-2.0
// Re-estimation of batch norm: mean and variance of each channel over one batch, and the scale and shift that normalise with
// them. The mean of each block of 32 positions is subtracted while the block is in the L1 cache; the blocks are merged in
// double (Chan, Golub & LeVeque 1983). So there is one pass over memory, and no cancellation: a mean far above the deviation
// costs no digits.
// Tests: tests/kernels/batch_moments_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "elek/types.h"
#include "kernels/common/moments.h"

namespace elek::kernels::cpu {

/// Bytes of workspace for batch_moments. The workspace must be aligned to 64.
[[nodiscard]] size_t batch_moments_workspace_bytes(int64_t channels, int threads);

/// Moments of z per channel, over all samples and positions. T: each stored type (stored_types.h).
/// Numerics  double merges of f32 block sums. Relative error of the variance <= 20 * 2^-24: 2 from the difference, 16 from its
///           chain, 1 from adding two chains. Error of the mean <= 18 * 2^-24 deviations. Moments of a channel with NaN or
///           infinity are NaN.
/// Threads   as run_epilogue; same input and same `threads`: same bits
/// Errors    ContractError: null data or workspace, shape out of range
template <typename T>
void batch_moments(const ActivationView<T>& z, const MomentArrays& out, void* workspace, int threads);

/// Calls normalise_channel() for each channel (kernels/common/moments.h). Errors as check_normalisation.
void normalise_by_moments(const Normalisation& n);

}  // namespace elek::kernels::cpu
