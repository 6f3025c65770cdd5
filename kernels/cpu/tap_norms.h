// SPDX-License-Identifier: Apache-2.0
// The tap norms (Wanda's input norms) on the CPU. One pass over x sums its squares per (row class, column class) pair of the
// plan (kernels/common/tap_norm_plan.h). Tests: tests/kernels/tap_norms_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "elek/types.h"
#include "kernels/common/tap_norm_plan.h"

namespace elek::kernels::cpu {

/// Bytes of the accumulators: [threads][channels rounded up to 16][row classes][column classes] doubles, each thread's part
/// rounded up to 128 bytes: 72 bytes per channel and thread for a 3x3. Must be aligned to 64 and zeroed before the first batch.
[[nodiscard]] size_t tap_norm_bytes(const TapNormPlan& plan, int threads);

/// Adds the squares of x's samples to `accumulators`.
/// Shapes    x: shape = plan.input, any layout, any number of samples · Types  T: each stored type (stored_types.h)
/// Numerics  f32 partial sums of at most 8 squares in 4 chains, then double: relative error <= 10 * 2^-24 (all terms are >= 0).
///           NaN and infinity stay; |x| > 1.8e19 overflows to infinity.
/// Threads   `threads` (0 = default_threads()), at most `block_threads`, the number of threads that tap_norm_bytes() was
///           called with
/// Errors    ContractError: shape differs from the plan's, null data
template <typename T>
void tap_norms(const ActivationView<T>& x, const TapNormPlan& plan, double* accumulators, int block_threads, int threads);

/// norm_sq[(c * R + r) * S + s], [channels, R, S]: adds the threads' parts in order, then the classes of each tap.
void reduce_tap_norms(const TapNormPlan& plan, const double* accumulators, int block_threads, double* norm_sq);

}  // namespace elek::kernels::cpu
