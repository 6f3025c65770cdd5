// SPDX-License-Identifier: Apache-2.0
// Direct convolution on blocked activations, as a matrix product over panels of pixels. The epilogue does bias, residual, ReLU,
// store and the per-channel sums. Each output is summed completely in registers: no partial result is written or read back.
// In 1x1 convolutions the panels are the activations themselves. With larger kernels, strides or padding, a block of pixels is
// first copied (gathered), tap by tap, into a scratch that stays in the L2 cache: an im2col of a few dozen pixels, never of an
// image. Gathering costs one store per copied value, which is then used in 2 * out_channels operations.
// Must not know about graphs or sessions. Allocates nothing: the caller owns scratch and packed weights.
// Tests: tests/kernels/gemm_conv_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"
#include "elek/types.h"
#include "elek/window.h"
#include "kernels/cpu/conv_args.h"

namespace elek::kernels::cpu {

/// x [samples, channels, height, width] -> y [samples, out_channels, window().slide()].
/// With convolution groups, a vector of output channels reads the whole channel blocks that hold its groups' inputs; the
/// weights of other groups are zero there. So groups of fewer channels than a vector cost more products than they need.
struct GemmConvProblem {
  int64_t samples = 0;  // largest number; a run may have fewer
  int64_t channels = 0;
  int64_t out_channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  Layout layout = Layout::kNChw16c;
  int threads = 1;
  Extent dilation = 1;
  int64_t groups = 1;
  bool plain = false;                    // x has no blocks (kNchw): an input of few channels, or pooled features
  size_t most_scratch_bytes = SIZE_MAX;  // a wish: blocks become smaller, down to one panel per thread
  [[nodiscard]] Window window() const noexcept { return {kernel, stride, padding, dilation}; }
};

/// How the work is divided. Made once, used by every run.
struct GemmConvPlan {
  GemmConvProblem problem;
  int64_t out_height = 0;
  int64_t out_width = 0;
  int64_t sample_panels = 0;   // panels of pixels per sample
  int64_t block_panels = 0;    // panels that are multiplied by a group of weights while it is in the cache
  bool gathers = false;        // pixels are copied to the scratch first
  bool compact = false;        // without room for channels that x does not have: [tap and channel][pixel], in blocks
  int64_t span = 0;            // most input channels that two vectors of output channels read
  bool split_outputs = false;  // threads divide the output channels, so each weight is read by one thread; else the pixels
  size_t packed_bytes = 0;
  size_t scratch_bytes = 0;  // of all threads; 0 if it does not gather
};

/// Returns No with a reason if the layout is not blocked, the image is smaller than the kernel, or x is plain, has groups and
/// more than one pixel.
[[nodiscard]] Result<GemmConvPlan> plan_gemm_conv(const GemmConvProblem& problem);

/// Shapes    weights: [K, C / groups, R, S] dense f32 · packed: plan.packed_bytes, aligned to 64
/// Memory    writes all of packed; padding outputs are zero
void pack_gemm_conv_weights(const GemmConvPlan& plan, const float* weights, float* packed);

/// y = act(conv(x, w) + bias [+ residual]) and the sums (conv_args.h).
/// Numerics  products added in the order tap, channel, in f32: |error| <= (C / groups * R * S + 2) * 2^-24 * (sum |w x| + |b| +
/// |r|);
///           same input, same bits, for every number of threads and samples (sums: only for the same number of threads);
///           with groups, a NaN or infinity also reaches the neighbouring groups whose channels share its blocks
void gemm_conv(const GemmConvPlan& plan, const ConvArgs& args);

}  // namespace elek::kernels::cpu
