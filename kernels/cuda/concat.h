// SPDX-License-Identifier: Apache-2.0
// Concatenation of channels: copies one input to its place in the result. Tests: tests/gpu/kernels/concat_test.cpp
#pragma once

#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

/// y[n,h,w,first+c] = x[n,h,w,c] for every channel c of x. The input that ends at y's last channel also writes y's padding
/// channels (zero).
/// Shapes    as the CPU's concat_part · Types: x and y kF32 | kF16 | kBF16, the same · Launches 1
/// Errors    ContractError: other types or sizes, channels that do not fit, more image rows than a grid holds
void launch_concat_part(const CudaActivation& x, const CudaActivation& y, int64_t first, cudaStream_t stream);

}  // namespace elek::kernels::cuda
