// SPDX-License-Identifier: Apache-2.0
// What our own convolution kernels (winograd, gemm_conv) are called with. Both end in the same epilogue: bias, residual,
// activation, store and the per-channel sums, taken from registers.
#pragma once

#include "elek/activation.h"
#include "elek/types.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y = act(conv(x, w) + bias [+ residual]) and the sums of y per channel.
/// Shapes    x: the plan's problem, samples <= problem.samples · bias: [padded K], padding zero · residual, y: output shape
/// Layout    all views in problem.layout; padding lanes of y are written as zero
/// Aliasing  y may be residual's memory; x overlaps nothing
/// Threads   problem.threads OpenMP threads; thread i adds to the i-th accumulators of `sums`
/// Sums      kActivity, kMoments, kAbsolute, kRange of y as stored (z before residual and activation); kPerSample is left to
///           observe(), for a sample is spread over tiles or panels
struct ConvArgs {
  ActivationView<const float> x;
  const float* packed = nullptr;
  const float* bias = nullptr;
  ActivationView<const float> residual;  // data null = none
  Activation activation{};               // a clamp (Activation::is_clamp): 0 stays 0 in padding lanes
  ActivationView<float> y;
  float* scratch = nullptr;
  const ChannelSums* sums = nullptr;  // null = unobserved
};

}  // namespace elek::kernels::cpu
