// SPDX-License-Identifier: Apache-2.0
// The arguments of our own convolution kernels (winograd, gemm_conv, depthwise). All have the same epilogue: bias, residual,
// activation, store and the per-channel sums, in registers.
#pragma once

#include "elek/activation.h"
#include "elek/types.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y = act(conv(x, w) + bias [+ residual]) and the sums of y per channel.
/// Shapes    x: the plan's input, samples <= problem.samples · bias: [padded K], padding zero · residual, y: the plan's output
/// Layout    all views in problem.layout; padding lanes of y become zero
/// Aliasing  y may be residual's memory; x overlaps nothing
/// Threads   work is cut into problem.threads parts; part i adds to the i-th accumulators of `sums`
/// Sums      kActivity, kMoments, kAbsolute, kRange of y as stored (z before residual and activation); kPerSample is not taken,
///           because a sample is divided into tiles, panels or rows: call observe() for it
struct ConvArgs {
  ActivationView<const float> x;
  const float* packed = nullptr;
  const float* bias = nullptr;
  ActivationView<const float> residual;  // data null = none
  Activation activation{};               // must be a clamp (Activation::is_clamp), so that padding lanes stay 0
  ActivationView<float> y;
  float* scratch = nullptr;
  const ChannelSums* sums = nullptr;  // null = no sums
};

}  // namespace elek::kernels::cpu
