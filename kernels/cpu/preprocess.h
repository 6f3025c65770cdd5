// SPDX-License-Identifier: Apache-2.0
// The first step of a session: converts uint8 pixels (NHWC, as loaders decode them) to normalised values in the layout and type
// of the first layer. Values come from a table (kernels/common/preprocess_table.h). Tests: tests/kernels/preprocess_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "elek/types.h"
#include "kernels/common/preprocess_table.h"

namespace elek::kernels::cpu {

/// y[n,c,h,w] = table[c][pixels[((n * H + h) * W + w) * C + c]]; padding lanes of y become zero.
/// Shapes    pixels: [N, H, W, C] dense; y: N samples of C x H x W in any layout · table: [C, 256]
/// Types     T: each stored type (stored_types.h), rounded to nearest
/// Threads   0 = default_threads(); split by rows
/// Errors    ContractError: null data, shape out of range
template <typename T>
void preprocess(const uint8_t* pixels, const float* table, const ActivationView<T>& y, int threads);

}  // namespace elek::kernels::cpu
