// SPDX-License-Identifier: Apache-2.0
// Pooling in every layout, for each stored type T (stored_types.h), computed in f32 or double and rounded once. If `sums` is
// given, a second pass takes the sums of the stored values.
// Tests: tests/kernels/pool_test.cpp
#pragma once

#include <cstdint>

#include "elek/types.h"
#include "kernels/common/pool_window.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y = maximum over the window, padding = -infinity; a NaN in the window wins (as in PyTorch).
/// Shapes    x, y: same samples, channels, layout (pitches may differ only for NHWC); padding lanes of y become zero
/// Types     T: each stored type, and 8-bit integers (without sums)
/// Sums      of y, added if `sums` is given (rules of run_epilogue; kMoments unchanged)
/// Aliasing  none · Threads: as run_epilogue
/// Errors    ContractError: y's size does not follow from x's size and the window; padding >= kernel; null data
template <typename T>
void max_pool(const ActivationView<T>& x, const ActivationView<T>& y, const PoolWindow& window, const ChannelSums* sums,
              int threads);

/// y = sum over the window / number of its positions: those of the padded image, or those of the image alone (PoolWindow). f32
/// sums in window order, rows first.
template <typename T>
void avg_pool(const ActivationView<T>& x, const ActivationView<T>& y, const PoolWindow& window, const ChannelSums* sums,
              int threads);

/// y[n,c] = mean over all positions, summed in double, rounded once. y is N x C x 1 x 1 in any layout.
template <typename T>
void global_avg_pool(const ActivationView<T>& x, const ActivationView<T>& y, const ChannelSums* sums, int threads);

}  // namespace elek::kernels::cpu
