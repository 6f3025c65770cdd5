// SPDX-License-Identifier: Apache-2.0
// Wanda's input norms: norm_sq[c,r,s] = sum of x^2 over the inputs that tap (r, s) of channel c really meets, stride and
// padding included: the squared norm of the im2col column, without making columns. Rows that meet the same set of taps form a
// class, columns too (stride 1, 3x3: first, inner, last). One pass over x adds its squares per (row class, column class); a
// tap's norm is the sum of the classes that it meets. Only additions: never negative. Tests: tests/kernels/tap_norms_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/types.h"

namespace elek::kernels::cpu {

/// What tap_norms() needs to know of a layer; built once when a session is bound (it allocates a few hundred bytes).
struct TapNormPlan {
  struct Segment {  // columns begin, begin + step, … (count of them), all of class `column_class`
    int32_t column_class = 0;
    int32_t begin = 0;
    int32_t step = 1;
    int32_t count = 0;
  };
  ImageShape input;
  int64_t kernel = 1;
  std::vector<int32_t> row_class;           // [H]; -1 = met by no tap
  std::vector<uint64_t> row_class_taps;     // bit r set: rows of this class meet taps (r, .)
  std::vector<Segment> segments;            // columns by class; columns that no tap meets are left out
  std::vector<uint64_t> column_class_taps;  // bit s set
};

/// ContractError: kernel not in 1 … 16, stride < 1, padding < 0 or >= kernel, or no output position.
[[nodiscard]] TapNormPlan make_tap_norm_plan(const ImageShape& input, int64_t kernel, int64_t stride, int64_t padding);

/// Bytes of the accumulators: [threads][channels rounded up to 16][row classes][column classes] doubles, each thread's part
/// rounded up to 128 bytes: 72 bytes a channel and thread for a 3x3. To be aligned to 64 and zeroed before the first batch.
[[nodiscard]] size_t tap_norm_bytes(const TapNormPlan& plan, int threads);

/// Adds the squares of x's samples to `accumulators`.
/// Shapes    x: shape = plan.input, any layout, any number of samples · Types  T: float, BFloat16
/// Numerics  f32 partial sums of at most 8 squares in 4 chains, then double: error <= 10 * 2^-24 of the norm (relative: all
///           terms are >= 0). NaN and infinity stay; |x| > 1.8e19 overflows to infinity.
/// Threads   `threads` (0 = omp_get_max_threads()), never more than `block_threads`, the count that the block was made for
/// Errors    ContractError: shape differs from the plan's, null data
template <typename T>
void tap_norms(const ActivationView<T>& x, const TapNormPlan& plan, double* accumulators, int block_threads, int threads);

/// norm_sq[(c * R + r) * S + s], [channels, R, S]: the threads' parts added in order, then each tap's classes.
void reduce_tap_norms(const TapNormPlan& plan, const double* accumulators, int block_threads, double* norm_sq);

}  // namespace elek::kernels::cpu
