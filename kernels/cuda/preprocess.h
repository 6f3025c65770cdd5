// SPDX-License-Identifier: Apache-2.0
// The first node of a session on the GPU: uint8 pixels, NHWC as loaders decode them, to normalised NHWC with channel padding.
// A table of 256 values a channel, computed on the host in the order of torchvision's ToTensor and Normalize, makes it
// bit-equal to PyTorch in f32; f16 and bf16 round the table's value once. Tests: tests/gpu/kernels/layout_test.cpp
#pragma once

#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

inline constexpr int64_t kPixelValues = 256;
/// Host: table[c * 256 + p] = ((float)p / 255 - mean[c]) / std[c], each operation rounded to f32.
/// Errors  ContractError: channels < 1, null arrays, std[c] not > 0
void fill_preprocess_table(int64_t channels, const float* mean, const float* std, float* table);

/// y[n,c,h,w] = table[c][pixels[((n * H + h) * W + w) * C + c]]; padding lanes of y are written as zero.
/// Shapes    pixels: [N, H, W, C] u8, dense, any alignment · table: [C, 256] f32 · both device · y: f32 | f16 | bf16
/// Memory    reads N*H*W*C bytes and writes y once; the table (1 KB a channel) stays in L1 · Launches 1
void launch_preprocess(const uint8_t* pixels, const float* table, const CudaActivation& y, cudaStream_t stream);

}  // namespace elek::kernels::cuda
