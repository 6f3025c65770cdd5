// SPDX-License-Identifier: Apache-2.0
// Pooling for observed and unobserved runs, in every layout, of every stored type T (stored_types.h: computed in f32 or better
// and rounded once); each can be followed by the sums of what it stored.
// Tests: tests/kernels/pool_test.cpp
#pragma once

#include <cstdint>

#include "elek/types.h"
#include "kernels/common/pool_window.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y = maximum over the window, padding = -infinity; a NaN in the window wins (as PyTorch).
/// Shapes    x, y: same samples, channels, layout (pitches may differ only for NHWC); padding lanes of y are made zero
/// Sums      of y, added when `sums` is given (run_epilogue's rules; kMoments left alone)
/// Aliasing  none · Threads: as run_epilogue
/// Errors    ContractError: y's extent does not follow from x's and the window; padding * 2 > kernel; null data
template <typename T>
void max_pool(const ActivationView<T>& x, const ActivationView<T>& y, const PoolWindow& window, const ChannelSums* sums,
              int threads);

/// y = sum over the window / kernel^2: the divisor counts padding (torchvision's default). f32 sums in window order, rows
/// first.
template <typename T>
void avg_pool(const ActivationView<T>& x, const ActivationView<T>& y, const PoolWindow& window, const ChannelSums* sums,
              int threads);

/// y[n,c] = mean over all positions, summed in double, rounded once. y is N x C x 1 x 1 in any layout, x's or another.
template <typename T>
void global_avg_pool(const ActivationView<T>& x, const ActivationView<T>& y, const ChannelSums* sums, int threads);

}  // namespace elek::kernels::cpu
