// SPDX-License-Identifier: Apache-2.0
// Gradients of the operators without weights: from the gradient of an operator's output to the gradient of its input. f32, in
// the blocked layouts, because training uses no others; ContractError for another layout.
// "dx (+)=": with `add`, the gradient is added to dx; without, dx is overwritten. So a value that several operators read sums
// their gradients. Padding lanes of all gradients are zero, and stay zero.
// Plain loops over lanes, because these operators are limited by memory and take a small part of a training step.
// Tests: tests/kernels/backward_test.cpp
#pragma once

#include <cstdint>
#include <span>

#include "elek/activation.h"
#include "elek/types.h"
#include "kernels/common/pool_window.h"

namespace elek::kernels::cpu {

using Values = ActivationView<const float>;
using Gradients = ActivationView<float>;

/// True if the derivative follows from the output y = act(v); false if v itself is needed. At a kink the derivative is 0, as in
/// PyTorch's relu and hardtanh (for leaky_relu: the slope).
[[nodiscard]] constexpr bool derivative_from_output(const Activation& activation) noexcept {
  return activation.kind != Activation::Kind::kHardSwish && activation.kind != Activation::Kind::kSilu &&
         (activation.kind != Activation::Kind::kLeakyRelu || activation.slope > 0);
}

/// g *= act'. `value`: y if derivative_from_output(activation), otherwise v.
void activation_backward(const Activation& activation, const Values& value, const Gradients& g, int threads);

/// dx (+)= g, same shape and layout.
void copy_gradient(const Values& g, const Gradients& dx, bool add, int threads);

/// dx (+)= scale[c] * g. A batch norm whose statistics do not move.
void scale_backward(const Values& g, const float* scale, const Gradients& dx, bool add, int threads);

/// The gradient goes to the largest value of each window: the first one in row order, as in PyTorch. A NaN counts as largest.
void max_pool_backward(const Values& x, const Values& g, const Gradients& dx, const PoolWindow& window, bool add, int threads);

/// Each value of a window gets g / the forward pass's divisor (window.counts_padding).
void avg_pool_backward(const Values& g, const Gradients& dx, const PoolWindow& window, bool add, int threads);

/// Each position gets g / positions. g: C x 1 x 1.
void global_avg_pool_backward(const Values& g, const Gradients& dx, bool add, int threads);

/// dx[n, source[d], p*stride, q*stride] += g[n,d,p,q] for each source[d] >= 0; the other elements of dx get nothing.
void channel_map_backward(const Values& g, std::span<const int32_t> source, int64_t stride, const Gradients& dx, bool add,
                          int threads);

/// y[n, first + c, p] = x[n,c,p]: dx[n,c,p] (+)= g[n, first + c, p]. One call per input of a concatenation.
void concat_part_backward(const Values& g, int64_t first, const Gradients& dx, bool add, int threads);

/// y[n,c,p] = x[n,c,p] * s[n,c]: dx (+)= g * s. s: C x 1 x 1.
void channel_scale_backward_x(const Values& g, const Values& s, const Gradients& dx, bool add, int threads);
/// The same for the factors: ds (+)= sum over p of g * x, in double.
void channel_scale_backward_s(const Values& g, const Values& x, const Gradients& ds, bool add, int threads);

/// y[c*H*W + h*W + w] = x[c,h,w].
void flatten(const Values& x, const Gradients& y, int threads);
void flatten_backward(const Values& g, const Gradients& dx, bool add, int threads);

/// to[n,c,p*stride.height,q*stride.width] = g[n,c,p,q], zero elsewhere: turns the gradient of a convolution with strides into
/// that of one without. `to` has room for all of them.
void spread(const Values& g, const Extent& stride, const Gradients& to, int threads);

}  // namespace elek::kernels::cpu
