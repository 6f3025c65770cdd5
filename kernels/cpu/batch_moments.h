// SPDX-License-Identifier: Apache-2.0
// Batch-norm re-estimation: mean and variance of every channel over one batch, and the scale and shift that normalise by them.
// Blocks of 32 positions are centred on their own mean while they are in L1 and merged in double (Chan, Golub & LeVeque 1983):
// one pass over memory, nothing cancels, so a mean far above the deviation costs no digits.
// Tests: tests/kernels/batch_moments_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace elek::kernels::cpu {

/// Each [C]; null where not wanted.
struct MomentArrays {
  double* mean = nullptr;
  double* variance_biased = nullptr;    // divided by n = samples * positions: what normalises
  double* variance_unbiased = nullptr;  // divided by n - 1: what PyTorch averages into running_var (n = 1: 0)
};

/// Bytes of workspace for batch_moments, to be aligned to 64.
[[nodiscard]] size_t batch_moments_workspace_bytes(int64_t channels, int threads);

/// Moments of z (T: float, BFloat16) per channel over all samples and positions.
/// Numerics  double merges of f32 block sums. Relative error of the variance <= 20 * 2^-24: 2 of the difference, 16 of its
/// chain,
///           1 that joins two; error of the mean <= 18 * 2^-24 deviations. NaN or infinity in a channel makes its moments NaN.
/// Threads   as run_epilogue; the result's bits depend on `threads` only
/// Errors    ContractError: null data or workspace, shape out of range
template <typename T>
void batch_moments(const ActivationView<T>& z, const MomentArrays& out, void* workspace, int threads);

/// Normalisation by moments: scale[c] = gamma[c] / sqrt(variance[c] + eps), shift[c] = beta[c] - mean[c] * scale[c], in double,
/// stored as f32. Where variance[c] is 0 (a constant channel, or one position) old_mean and old_variance are used instead and
/// written back to mean and variance, so that they are what gets averaged. gamma null = 1, beta null = 0.
/// Returns the number of channels that fell back.
struct Normalisation {
  int64_t channels = 0;
  double* mean = nullptr;                // [C] in, out
  double* variance = nullptr;            // [C] in (biased), out
  double* variance_unbiased = nullptr;   // [C] or null: also overwritten by old_variance where the channel falls back
  const double* old_mean = nullptr;      // [C]
  const double* old_variance = nullptr;  // [C]
  const float* gamma = nullptr;          // [C] or null
  const float* beta = nullptr;           // [C] or null
  double eps = 1e-5;
  float* scale = nullptr;  // [C] out
  float* shift = nullptr;  // [C] out
};
int64_t normalisation_from_moments(const Normalisation& n);

}  // namespace elek::kernels::cpu
