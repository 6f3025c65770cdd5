// SPDX-License-Identifier: Apache-2.0
// Re-estimation of batch norm on the GPU: the moments of one batch per channel, and the scale and shift computed from them. The
// mean of each block of 8 rows is subtracted before squaring, and blocks are merged in double (Chan, Golub & LeVeque 1983) in a
// fixed order, so a mean far above the deviation costs no digits. The result stays on the device; launch_epilogue applies scale
// and shift. Same rules as kernels/cpu/batch_moments.h.
// Tests: tests/gpu/kernels/moments_test.cpp
#pragma once

#include "kernels/common/moments.h"
#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

/// Bytes of workspace: double [slots][2][channels]. Never decreases with more samples.
[[nodiscard]] size_t batch_moments_workspace_bytes(int64_t samples, const ImageShape& shape);

/// Moments of z per channel over all samples and positions; `out` in device memory.
/// Types     z: f32 | f16 | bf16; out: double
/// Numerics  relative error of the variance <= 16 * 2^-24 plus the error of f32 differences from the block's mean; a constant
///           channel has variance 0 exactly. Moments of a channel with NaN or infinity are NaN. Fixed order, no atomics.
/// Memory    reads z once; allocates nothing · Launches 2
/// Errors    ContractError: null data, nothing wanted, workspace too small
void launch_batch_moments(const CudaActivation& z, const MomentArrays& out, void* workspace, size_t workspace_bytes,
                          cudaStream_t stream);

/// Calls normalise_channel() for each channel; all arrays are in device memory. Launches 1.
/// Errors    as check_normalisation
void launch_normalisation(const Normalisation& n, cudaStream_t stream);

}  // namespace elek::kernels::cuda
