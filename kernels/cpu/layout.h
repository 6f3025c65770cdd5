// SPDX-License-Identifier: Apache-2.0
// From any layout to plain NCHW and back: logits at the end of a pass, kept values, inputs given as values.
// Tests: tests/kernels/layout_test.cpp
#pragma once

#include "elek/types.h"

namespace elek::kernels::cpu {

/// dst[((n * C + c) * H + h) * W + w] = x[n,c,h,w], without padding.
/// Types     T: every stored type · To: float or T
/// Threads   0 = omp_get_max_threads() · Errors  ContractError: null data, shape out of range
template <typename T, typename To>
void to_nchw(const ActivationView<T>& x, To* dst, int threads);

/// The way back: dense NCHW f32 to y, rounded to T; padding lanes become zero.
template <typename T>
void from_nchw(const float* src, const ActivationView<T>& y, int threads);

}  // namespace elek::kernels::cpu
