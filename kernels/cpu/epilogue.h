// SPDX-License-Identifier: Apache-2.0
// The epilogue of an observed layer: y = act(scale * z + shift + residual), stored and summed per channel in one pass over
// data that the convolution has just left in L2/L3. Also every standalone elementwise node (add, relu, batch_norm) and, in the
// read-only form, the sums of a value that some other kernel has stored.
// One vector lane is one channel (blocked layouts), so sums need no lane shuffles; f32 partial sums of 8 terms in 2 or 4 chains
// go to double every 16 or 32 positions: the error is <= 10 * 2^-24 of the sum of absolute terms (docs/statistics.md).
// Tests: tests/kernels/epilogue_test.cpp
#pragma once

#include <cstdint>

#include "elek/activation.h"
#include "elek/types.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y[n,c,p] = act(scale[c] * z[n,c,p] + shift[c] + residual[n,c,p]), act as elek/activation.h says; act(NaN) = NaN
template <typename Z = float, typename Y = Z>
struct Epilogue {
  ActivationView<Z> z;           // read
  ActivationView<Y> y;           // written: samples, shape, layout and pitch of z
  const float* scale = nullptr;  // [C], null = 1 (read as f32; batch norm kept apart)
  const float* shift = nullptr;  // [C], null = 0
  const Y* residual = nullptr;   // memory laid out as z's; null = none
  Activation activation = Activation::kNone;
  const ChannelSums* sums = nullptr;  // adds this call's sums; null = none
};

/// Runs it and adds the sums of y, and of z' = scale * z + shift (kMoments).
/// Shapes    any N, C, H, W >= 1; every layout. Padding lanes of z and residual are zero and those of y are made zero.
/// Types     Z, Y: T, T of every stored type (stored_types.h), or float, T
/// Aliasing  y may be z (of its type) or residual exactly (in place); partial overlap is an error that is not detected
/// Numerics  f32, y rounded once to its type; scale * z + shift is one fused multiply-add where the machine has it. NaN stays
///           NaN and is counted. Sums are of y as stored. Sums and counts of a value with NaN or overflowing squares are redone
///           in double.
/// Memory    reads z (and residual), writes y: once each; allocates nothing
/// Threads   `threads` (0 = omp_get_max_threads(), and never more than sums->threads); thread t adds to sums->of_thread(t).
///           Work is split evenly by positions; with kPerSample by (sample, channel block). Must not be called inside a
///           parallel region. Same threads, same bits.
/// Errors    ContractError: shapes, layouts or channel counts differ, null data
template <typename Z, typename Y>
void run_epilogue(const Epilogue<Z, Y>& epilogue, int threads);

/// The read-only form: adds the sums of an existing value to `sums`. kMoments, if laid out, is left alone: z is not there.
/// `only` (Sums, combined) restricts which of the laid-out sets are added, e.g. kPerSample after a kernel that took the others;
/// `nonfinite` is counted only when `only` is everything. Threads and errors as above.
template <typename T>
void observe(const ActivationView<T>& y, const ChannelSums& sums, int threads, uint32_t only = kAllSums);

}  // namespace elek::kernels::cpu
