// SPDX-License-Identifier: Apache-2.0
// The first step of a session on the GPU: converts uint8 pixels (NHWC, as loaders decode them) to normalised NHWC with channel
// padding. Values come from a table (kernels/common/preprocess_table.h); for f16 and bf16 they are rounded once.
// Tests: tests/gpu/kernels/layout_test.cpp
#pragma once

#include "kernels/common/preprocess_table.h"
#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

/// y[n,c,h,w] = table[c][pixels[((n * H + h) * W + w) * C + c]]; padding lanes of y become zero.
/// Shapes    pixels: [N, H, W, C] u8, dense, any alignment · table: [C, 256] f32 · both device · y: f32 | f16 | bf16
/// Memory    reads N*H*W*C bytes and writes y once; the table (1 KB per channel) stays in L1 · Launches 1
void launch_preprocess(const uint8_t* pixels, const float* table, const CudaActivation& y, cudaStream_t stream);

}  // namespace elek::kernels::cuda
