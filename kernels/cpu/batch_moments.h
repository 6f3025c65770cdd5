// SPDX-License-Identifier: Apache-2.0
// Batch-norm re-estimation: mean and variance of every channel over one batch, and the scale and shift that normalise by them.
// Blocks of 32 positions are centred on their own mean while they are in L1 and merged in double (Chan, Golub & LeVeque 1983):
// one pass over memory, nothing cancels, so a mean far above the deviation costs no digits.
// Tests: tests/kernels/batch_moments_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "elek/types.h"
#include "kernels/common/moments.h"

namespace elek::kernels::cpu {

/// Bytes of workspace for batch_moments, to be aligned to 64.
[[nodiscard]] size_t batch_moments_workspace_bytes(int64_t channels, int threads);

/// Moments of z (T: every stored type, stored_types.h) per channel over all samples and positions.
/// Numerics  double merges of f32 block sums. Relative error of the variance <= 20 * 2^-24: 2 of the difference, 16 of its
///           chain, 1 that joins two; error of the mean <= 18 * 2^-24 deviations. NaN or infinity in a channel makes its
///           moments NaN.
/// Threads   as run_epilogue; the result's bits depend on `threads` only
/// Errors    ContractError: null data or workspace, shape out of range
template <typename T>
void batch_moments(const ActivationView<T>& z, const MomentArrays& out, void* workspace, int threads);

/// normalise_channel() of every channel (kernels/common/moments.h). Errors as check_normalisation.
void normalise_by_moments(const Normalisation& n);

}  // namespace elek::kernels::cpu
