// SPDX-License-Identifier: Apache-2.0
// Only for narrow_conv.cpp and narrow_conv_simd.cpp: where units, panels and packed weights begin.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/narrow_conv.h"

namespace elek::kernels::cpu::detail {

/// Of a kernel: the distances of its taps lie on the stack.
inline constexpr int64_t kMostTaps = 1024;

/// A packed group of output channels: what the sums start from (i32), scales (f32), then the weights, all [2 vectors].
[[nodiscard]] inline int64_t narrow_group_words(const NarrowConvPlan& plan, int64_t lanes) {
  return (2 + plan.problem.kernel.area() * plan.words) * 2 * lanes;
}

/// Lines [first, last) of samples [sample, last_sample).
struct NarrowUnit {
  int64_t sample, last_sample;
  int64_t first, last;
};
[[nodiscard]] inline NarrowUnit narrow_unit(const NarrowConvPlan& plan, int64_t samples, int64_t unit) {
  if (plan.bands == 1) {
    const int64_t sample = unit * plan.unit_samples;
    return {sample, std::min(sample + plan.unit_samples, samples), 0, plan.lines};
  }
  const int64_t band = unit % plan.bands;
  const int64_t sample = unit / plan.bands;
  return {sample, sample + 1, plan.lines * band / plan.bands, plan.lines * (band + 1) / plan.bands};
}

/// Rows of the padded input that these lines read.
[[nodiscard]] inline int64_t staged_rows(const NarrowConvPlan& plan, int64_t lines) {
  return (lines - 1) * plan.problem.stride.height + plan.problem.window().reach().height;
}

}  // namespace elek::kernels::cpu::detail
