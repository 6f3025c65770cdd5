// SPDX-License-Identifier: Apache-2.0
// The plan for the tap norms (Wanda's input norms) of one layer, on every device: which inputs each tap of its kernel meets.
// norm_sq[c,r,s] = sum of x^2 over the inputs that tap (r, s) of channel c meets, with stride, padding and dilation. This is
// the squared norm of an im2col column, without making the columns. Rows that meet the same taps form a class, and so do
// columns (stride 1, 3x3: first, inner, last). In one pass over x, kernels sum the squares of each (row class, column class)
// pair. A tap norm is the sum over the pairs that the tap meets. There are only additions, so it is never negative. Plain
// integers, made once when a session is lowered. Must not know in which order a kernel reads x. Tests:
// tests/kernels/tap_norms_test.cpp, tests/gpu/kernels/tap_norms_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/types.h"
#include "elek/window.h"

namespace elek::kernels {

struct TapNormPlan {
  struct Segment {  // a run of columns of one class: begin, begin + step, …, `count` of them
    int32_t column_class = 0;
    int32_t begin = 0;
    int32_t step = 1;
    int32_t count = 0;
  };
  ImageShape input;
  Extent kernel = 1;
  std::vector<int32_t> row_class, column_class;  // class of each row [H] and column [W]; -1 = met by no tap
  std::vector<uint64_t> row_class_taps;          // bit r set: rows of this class meet taps (r, .)
  std::vector<uint64_t> column_class_taps;       // bit s set: columns of this class meet taps (., s)
  std::vector<Segment> segments;                 // the columns that taps meet, sorted by `begin`
  [[nodiscard]] int64_t pairs() const noexcept {
    return static_cast<int64_t>(row_class_taps.size() * column_class_taps.size());
  }
  /// Whether tap (tap / kernel.width, tap % kernel.width) meets the pixels of a pair; pair = row class * column classes +
  /// column class.
  [[nodiscard]] bool meets(int64_t pair, int64_t tap) const noexcept;
};

/// ContractError: kernel not in 1 … 16, stride or dilation < 1, padding < 0 or not smaller than the window's reach, no output
/// position, extent >= 2^31.
[[nodiscard]] TapNormPlan make_tap_norm_plan(const ImageShape& input, const Window& window);

/// norm_sq[(c * R + r) * S + s], [channels, R, S], overwritten: adds the pairs of each tap in order. sum_of(pair, channel): the
/// sum of squares of that pair.
template <typename SumOf>
void add_pairs(const TapNormPlan& plan, const SumOf& sum_of, double* norm_sq) {
  const int64_t taps = plan.kernel.area();
  for (int64_t c = 0; c < plan.input.channels; ++c, norm_sq += taps) {
    for (int64_t tap = 0; tap < taps; ++tap) norm_sq[tap] = 0;
    for (int64_t pair = 0; pair < plan.pairs(); ++pair) {
      const double sum = sum_of(pair, c);
      for (int64_t tap = 0; tap < taps; ++tap) {
        if (plan.meets(pair, tap)) norm_sq[tap] += sum;
      }
    }
  }
}

}  // namespace elek::kernels
