// SPDX-License-Identifier: Apache-2.0
// The table for the first step of a session: the normalised value of each of the 256 pixel values, per channel. It is computed
// on the host, in the order of torchvision's ToTensor and Normalize, so that f32 inputs have the same bits as in PyTorch on
// every device.
// Tests: tests/kernels/preprocess_test.cpp
#pragma once

#include <cstdint>

namespace elek::kernels {

inline constexpr int64_t kPixelValues = 256;

/// table[c * 256 + p] = ((float)p / 255 - mean[c]) / std[c], each operation rounded to f32.
/// Shapes  mean, std: [channels] · table: [channels, 256]
/// Errors  ContractError: channels < 1, null arrays, std[c] not > 0
void fill_preprocess_table(int64_t channels, const float* mean, const float* std, float* table);

}  // namespace elek::kernels
