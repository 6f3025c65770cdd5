// SPDX-License-Identifier: Apache-2.0
// Depthwise convolution on blocked activations: each channel has its own filter. The epilogue does bias, residual, activation,
// store and the per-channel sums in registers, as in gemm_conv and winograd.
// A vector holds neighbouring channels of one pixel, so a tap is one multiply-add for all of them and needs no shuffles. Up to
// 8 neighbouring outputs of a row are computed side by side and share the weights of each tap. There are few multiply-adds per
// byte, so memory limits the speed; therefore x is read once and y written once.
// Must not know about graphs or sessions. Allocates nothing: the caller owns the packed weights.
// Tests: tests/kernels/depthwise_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"
#include "elek/types.h"
#include "elek/window.h"
#include "kernels/cpu/conv_args.h"

namespace elek::kernels::cpu {

/// x [samples, channels, height, width] -> y [samples, channels, window().slide()]. Without dilation.
struct DepthwiseProblem {
  int64_t samples = 0;  // largest number; a run may have fewer
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  Layout layout = Layout::kNChw16c;
  int threads = 1;
  [[nodiscard]] Window window() const noexcept { return {kernel, stride, padding, 1}; }
};

struct DepthwisePlan {
  DepthwiseProblem problem;
  int64_t out_height = 0;
  int64_t out_width = 0;
  size_t packed_bytes = 0;
  size_t scratch_bytes = 0;  // none
};

/// Returns No with a reason if the layout is not blocked or the image is smaller than the kernel.
[[nodiscard]] Result<DepthwisePlan> plan_depthwise(const DepthwiseProblem& problem);

/// Shapes    weights: [C, 1, R, S] dense f32 · packed: plan.packed_bytes, aligned to 64
/// Memory    writes all of packed, [channel block][tap][channel of the block]; padding channels are zero
void pack_depthwise_weights(const DepthwisePlan& plan, const float* weights, float* packed);

/// y = act(conv(x, w) + bias [+ residual]) and the sums (conv_args.h; scratch is not used).
/// Numerics  products added in the order of the taps, in f32: |error| <= (R * S + 2) * 2^-24 * (sum |w x| + |b| + |r|);
///           same input, same bits, for every number of threads and samples (sums: only for the same number of threads)
void depthwise_conv(const DepthwisePlan& plan, const ConvArgs& args);

}  // namespace elek::kernels::cpu
