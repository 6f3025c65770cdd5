// SPDX-License-Identifier: Apache-2.0
// Moments of one batch per channel, and the normalisation made of them: BN re-estimation on the GPU. Robust where mean >> std:
// blocks of 8 rows are centred before squaring and merged in double (Chan, Golub & LeVeque 1983), in a fixed order. The result
// stays on the device; launch_epilogue applies scale and shift. Same rules as kernels/cpu/batch_moments.h.
// Tests: tests/gpu/kernels/moments_test.cpp
#pragma once

#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

/// Device arrays [C]; null where not wanted.
struct MomentArrays {
  double* mean = nullptr;
  double* variance_biased = nullptr;    // divided by n = samples * positions: what normalises
  double* variance_unbiased = nullptr;  // divided by n - 1: what PyTorch averages into running_var (n = 1: 0)
};

/// Bytes of workspace: double [slots][2][channels]. Never smaller for more samples.
[[nodiscard]] size_t batch_moments_workspace_bytes(int64_t samples, const ImageShape& shape);

/// Moments of z per channel over all samples and positions.
/// Types     z: f32 | f16 | bf16; out: double
/// Numerics  relative error of the variance <= 16 * 2^-24 plus that of f32 differences from the block's mean; a constant
/// channel
///           has variance 0 exactly. NaN or infinity in a channel makes its moments NaN. Fixed order, no atomics.
/// Memory    reads z once; allocates nothing · Launches 2
/// Errors    ContractError: null data, nothing wanted, workspace too small
void launch_batch_moments(const CudaActivation& z, const MomentArrays& out, void* workspace, size_t workspace_bytes,
                          cudaStream_t stream);

/// scale[c] = gamma[c] / sqrt(variance[c] + eps), shift[c] = beta[c] - mean[c] * scale[c], in double, stored as f32. Where
/// variance[c] is 0 (a constant channel, or one position) old_mean and old_variance are used instead and written back to mean,
/// variance and variance_unbiased, so that they are what gets averaged; `fallbacks` then goes up by one.
struct Normalisation {
  int64_t channels = 0;
  double* mean = nullptr;                // [C] device; in, out
  double* variance = nullptr;            // [C] in (biased), out
  double* variance_unbiased = nullptr;   // [C] or null
  const double* old_mean = nullptr;      // [C]
  const double* old_variance = nullptr;  // [C]
  const float* gamma = nullptr;          // [C] or null = 1
  const float* beta = nullptr;           // [C] or null = 0
  double eps = 1e-5;
  float* scale = nullptr;            // [C] out
  float* shift = nullptr;            // [C] out
  double* mean_total = nullptr;      // [C] or null: += mean (after the fallback), for averaging over batches
  double* variance_total = nullptr;  // [C] or null: += variance_unbiased (needs variance_unbiased)
  int64_t* fallbacks = nullptr;      // one integer or null: += channels that fell back (an integer atomic: order-free)
};
void launch_normalisation(const Normalisation& n, cudaStream_t stream);

}  // namespace elek::kernels::cuda
