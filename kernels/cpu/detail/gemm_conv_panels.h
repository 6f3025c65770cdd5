// SPDX-License-Identifier: Apache-2.0
// Only for gemm_conv.cpp and gemm_conv_simd.cpp: how the pixels of a sample are divided into panels, and which channels a
// vector of outputs reads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/gemm_conv.h"

namespace elek::kernels::cpu::detail {

/// Largest number of panels in a block.
inline constexpr int64_t kMaxBlockPanels = 128;

/// Pixels [first, last) of panel `panel` of a sample: balanced, so 49 pixels are divided into 12 + 12 + 12 + 13.
struct PixelRange {
  int64_t first, last;
};
inline PixelRange panel_pixels(const GemmConvPlan& plan, int64_t panel) {
  const int64_t pixels = plan.out_height * plan.out_width;
  return {pixels * panel / plan.sample_panels, pixels * (panel + 1) / plan.sample_panels};
}

/// Input channels [first, first + count) that output channels [k, k + lanes) read. `first` begins a channel block. Padding
/// outputs, whose weights are zero, read one.
struct ChannelRange {
  int64_t first, count;
};
inline ChannelRange channels_read(const GemmConvProblem& p, int64_t k, int64_t lanes) {
  const int64_t inputs = p.channels / p.groups, outputs = p.out_channels / p.groups, block = channel_block(p.layout);
  if (k >= p.out_channels) return {0, 1};
  const int64_t last_group = (std::min(k + lanes, p.out_channels) - 1) / outputs;
  const int64_t first = k / outputs * inputs / block * block;
  return {first, (last_group + 1) * inputs - first};
}

}  // namespace elek::kernels::cpu::detail
