// SPDX-License-Identifier: Apache-2.0
// The first node of a session: uint8 pixels, NHWC as loaders decode them, to normalised values in the first layer's layout, f32
// or bf16. A table of 256 values a channel, computed in the order of torchvision's ToTensor and Normalize, makes it bit-equal
// to PyTorch. Tests: tests/kernels/preprocess_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace elek::kernels::cpu {

/// table[c * 256 + p] = ((float)p / 255 - mean[c]) / std[c], each operation rounded to f32 (torchvision ToTensor, Normalize).
/// Errors  ContractError: channels < 1, std[c] not > 0
inline constexpr int64_t kPixelValues = 256;
void fill_preprocess_table(int64_t channels, const float* mean, const float* std, float* table);

/// y[n,c,h,w] = table[c][pixels[((n * H + h) * W + w) * C + c]]; padding lanes of y are written as zero.
/// Shapes    pixels: [N, H, W, C] dense; y: N samples of C x H x W in any layout · table: [C, 256]
/// Types     T: float, BFloat16 (rounded to nearest)
/// Threads   0 = omp_get_max_threads(); split by rows
/// Errors    ContractError: null data, shape out of range
template <typename T>
void preprocess(const uint8_t* pixels, const float* table, const ActivationView<T>& y, int threads);

}  // namespace elek::kernels::cpu
