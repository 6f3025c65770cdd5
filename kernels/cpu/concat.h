// SPDX-License-Identifier: Apache-2.0
// Concatenation of channels: copies one input to its place in the result. A run over all inputs makes the whole result.
// Tests: tests/kernels/concat_test.cpp
#pragma once

#include <cstdint>

#include "elek/types.h"

namespace elek::kernels::cpu {

/// y[n, first + c, p] = x[n, c, p] for every channel c of x. The input that ends at y's last channel also writes y's padding
/// lanes (zero).
/// Shapes    x: fewer channels or as many as y, else the same samples, height and width; any layouts
/// Aliasing  none · Threads: as run_epilogue · Memory: reads x and writes its place in y once
/// Errors    ContractError: another height, width or number of samples, channels that do not fit, null data
template <typename T>
void concat_part(const ActivationView<T>& x, const ActivationView<T>& y, int64_t first, int threads);

}  // namespace elek::kernels::cpu
