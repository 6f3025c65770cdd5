// SPDX-License-Identifier: Apache-2.0
// Convolutions with groups, forward and backward, for training. Plain loops: depthwise ones run over the lanes of a block,
// others over single channels. A training step of a network with many grouped layers is therefore slow; it is right, and needs
// no scratch. Inference has faster kernels (depthwise.h, and oneDNN's).
// Tests: tests/kernels/grouped_conv_test.cpp
#pragma once

#include <cstdint>

#include "elek/types.h"
#include "elek/window.h"
#include "kernels/cpu/backward.h"

namespace elek::kernels::cpu {

struct GroupedConv {
  int64_t groups = 1;
  Window window;
};

/// y[n,k,p,q] = bias[k] + sum over the channels c of k's group, r, s of w[k,c,r,s] x[n,…,p*stride-top+r*dilation,…]
/// Shapes    w: [K, C/groups, kernel.height, kernel.width] dense · bias: [K] or null · x, y: one blocked layout; padding lanes
/// become zero Numerics  f32, products added in the order channel, row, column
void grouped_conv(const GroupedConv& conv, const Values& x, const float* w, const float* bias, const Gradients& y, int threads);

/// dx (+)= the gradient of the input. g: the gradient of y.
void grouped_input_gradient(const GroupedConv& conv, const Values& g, const float* w, const Gradients& dx, bool add,
                            int threads);

/// dw[k,c,r,s] (+)= sum over n,p,q of g[n,k,p,q] x[…], summed in double.
void grouped_weight_gradient(const GroupedConv& conv, const Values& x, const Values& g, float* dw, bool add, int threads);

}  // namespace elek::kernels::cpu
