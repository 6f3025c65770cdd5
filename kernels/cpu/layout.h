// SPDX-License-Identifier: Apache-2.0
// Conversion from any layout to dense NCHW and back. Used for logits, for kept values, and for inputs given as values.
// Tests: tests/kernels/layout_test.cpp
#pragma once

#include "elek/types.h"

namespace elek::kernels::cpu {

/// dst[((n * C + c) * H + h) * W + w] = x[n,c,h,w], without padding.
/// Types     T: each stored type · To: float or T
/// Threads   0 = default_threads() · Errors  ContractError: null data, shape out of range
template <typename T, typename To>
void to_nchw(const ActivationView<T>& x, To* dst, int threads);

/// The inverse: dense NCHW f32 to y, rounded to T. Padding lanes become zero.
template <typename T>
void from_nchw(const float* src, const ActivationView<T>& y, int threads);

}  // namespace elek::kernels::cpu
