// SPDX-License-Identifier: Apache-2.0
// Only for gemm_conv.cpp and gemm_conv_simd.cpp: how the pixels of a sample are divided into panels.
#pragma once

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

}  // namespace elek::kernels::cpu::detail
