// SPDX-License-Identifier: Apache-2.0
// Conversion of layouts and types: weights when a session is bound, logits at the end of a pass, and kept values.
// Tests: tests/gpu/kernels/layout_test.cpp
#pragma once

#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

/// Converts weights as stored in files, [K, C, R, S] f32, to the form that cuDNN reads: [padded_k, R, S, padded_c] of `dtype`,
/// padding zero. Grouped convolutions: C is the channels of one group. Linear: R = S = 1.
struct WeightConversion {
  const float* kcrs = nullptr;  // device
  void* krsc = nullptr;         // device
  DType dtype = DType::kF32;    // kF32 | kF16 | kBF16
  int64_t k = 0, c = 0, r = 1, s = 1;
  int64_t padded_k = 0;  // >= k
  int64_t padded_c = 0;  // >= c
};
/// Numerics  rounded to nearest even; |w| > 65504 becomes infinity in f16. `overflows` (one device integer or null) is
///           increased by one for each finite weight that becomes infinite · Launches 1 · Errors ContractError: null data,
///           sizes out of range
void launch_convert_weights(const WeightConversion& conversion, int64_t* overflows, cudaStream_t stream);

/// out[((n * C + c) * H + h) * W + w] = (float)x[n,c,h,w]: logits (H = W = 1) and kept values, without padding.
/// Writes are not coalesced if H * W > 1: use it for results only.
void launch_to_nchw(const CudaActivation& x, float* out, cudaStream_t stream);
/// The inverse: dense NCHW f32 to y (rounded to nearest even). Padding lanes become zero.
void launch_from_nchw(const float* nchw, const CudaActivation& y, cudaStream_t stream);

}  // namespace elek::kernels::cuda
