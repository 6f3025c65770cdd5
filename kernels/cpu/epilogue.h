// SPDX-License-Identifier: Apache-2.0
// The epilogue of a watched layer: y = act(scale * z + shift + residual), stored and summed per channel in one pass, while z is
// still in the L2 or L3 cache. It also runs elementwise nodes (add, relu, batch_norm), and sums stored values that another
// kernel made.
// In blocked layouts one vector lane is one channel, so sums need no shuffles. 2 or 4 chains add up to 8 terms each in f32;
// then the chains are added to double, every 16 or 32 positions. The error is <= 10 * 2^-24 of the sum of absolute terms
// (docs/statistics.md).
// Tests: tests/kernels/epilogue_test.cpp
#pragma once

#include <cstdint>

#include "elek/activation.h"
#include "elek/types.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y[n,c,p] = act(scale[c] * z[n,c,p] + shift[c] + residual[n,c,p]), act as in elek/activation.h; act(NaN) = NaN
template <typename Z = float, typename Y = Z>
struct Epilogue {
  ActivationView<Z> z;           // read
  ActivationView<Y> y;           // written; same samples, shape, layout and pitch as z
  const float* scale = nullptr;  // [C], null = 1 (for batch norm kept apart)
  const float* shift = nullptr;  // [C], null = 0
  const Y* residual = nullptr;   // same layout in memory as z; null = none
  Activation activation = Activation::kNone;
  const ChannelSums* sums = nullptr;  // the sums are added here; null = none
};

/// Runs the epilogue. Adds the sums of y, and of z' = scale * z + shift (kMoments).
/// Shapes    any N, C, H, W >= 1; every layout. Padding lanes of z and residual must be zero; those of y become zero.
/// Types     Z, Y: T and T, or float and T, for each stored type T (stored_types.h)
/// Aliasing  y may be z (of its type) or residual exactly (in place); partial overlap is an error that is not detected
/// Numerics  f32; y is rounded once to its type. scale * z + shift is one fused multiply-add if the machine has it. NaN stays
///           NaN and is counted. Sums are those of y as stored. If a block has NaN or squares that overflow, its sums and
///           counts are computed again in double.
/// Memory    reads z (and residual), writes y: once each; allocates nothing
/// Threads   `threads` (0 = default_threads(), and never more than sums->threads); thread t adds to sums->of_thread(t).
///           Positions are divided evenly among the threads; with kPerSample, (sample, channel block) pairs. Must not be called
///           inside a parallel region. Same number of threads: same bits.
/// Errors    ContractError: shapes, layouts or channel counts differ, null data
template <typename Z, typename Y>
void run_epilogue(const Epilogue<Z, Y>& epilogue, int threads);

/// The read-only form: adds the sums of a stored value to `sums`. Leaves kMoments unchanged, because z is not available. `only`
/// (Sums, combined): the sets to add, for example kPerSample after a kernel that took the others. `nonfinite` is counted only
/// if `only` is kAllSums. Threads and errors as above.
template <typename T>
void observe(const ActivationView<T>& y, const ChannelSums& sums, int threads, uint32_t only = kAllSums);

}  // namespace elek::kernels::cpu
