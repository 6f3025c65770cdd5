// SPDX-License-Identifier: Apache-2.0
// Layout and type conversion: weights once when a session is bound, logits at the end of a pass, kept values for comparison.
// Tests: tests/gpu/kernels/layout_test.cpp
#pragma once

#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

/// Weights as files have them, [K, C, R, S] f32, to what cuDNN reads: [padded_k, R, S, padded_c] of `dtype`, padding zero.
/// Grouped convolutions: C is the channels of one group. Linear: R = S = 1.
struct WeightConversion {
  const float* kcrs = nullptr;  // device
  void* krsc = nullptr;         // device
  DType dtype = DType::kF32;    // kF32 | kF16 | kBF16
  int64_t k = 0, c = 0, r = 1, s = 1;
  int64_t padded_k = 0;  // >= k
  int64_t padded_c = 0;  // >= c
};
/// Numerics  rounded to nearest even; |w| > 65504 becomes infinity in f16: `overflows` (one device integer or null) goes up by
///           one for each finite weight that does · Launches 1 · Errors ContractError: null data, sizes out of range
void launch_convert_weights(const WeightConversion& conversion, int64_t* overflows, cudaStream_t stream);

/// out[((n * C + c) * H + h) * W + w] = (float)x[n,c,h,w]: logits (H = W = 1) and kept values, without padding.
/// Writes are not coalesced for H * W > 1: meant for results, not for the inner pass.
void launch_to_nchw(const CudaActivation& x, float* out, cudaStream_t stream);
/// The way back: dense NCHW f32 to y (rounded to nearest even), padding lanes zero.
void launch_from_nchw(const float* nchw, const CudaActivation& y, cudaStream_t stream);

}  // namespace elek::kernels::cuda
