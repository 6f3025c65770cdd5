// SPDX-License-Identifier: Apache-2.0
// channel_scale: multiplies each channel of each sample by its own factor (squeeze-and-excitation).
// Tests: tests/kernels/channel_scale_test.cpp
#pragma once

#include "elek/types.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y[n,c,p] = x[n,c,p] * s[n,c], rounded once to T
/// Shapes    s: C x 1 x 1 in any layout; x and y: same shape, layout and pitch
/// Sums      of y, added if `sums` is given (kMoments unchanged) · Padding lanes of y become zero
/// Aliasing  y may be x · Threads: as run_epilogue
/// Errors    ContractError: shapes or layouts differ, null data
template <typename T>
void channel_scale(const ActivationView<T>& x, const ActivationView<T>& s, const ActivationView<T>& y, const ChannelSums* sums,
                   int threads);

}  // namespace elek::kernels::cpu
