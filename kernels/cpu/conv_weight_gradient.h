// SPDX-License-Identifier: Apache-2.0
// The gradient of a convolution's loss with respect to its weights, on blocked activations.
//   dw[k,c,r,s] = sum over n,p,q of g[n,k,p,q] x[n,c,p*stride-top+r*dilation,q*stride-left+s*dilation]
// A tile of dw (a few channels c, a few vectors of channels k, one tap) stays in registers while the rows of a chunk pass. A
// chunk is as many rows as fit in the L2 cache. Between chunks the tiles lie in the scratch. Threads divide the tiles, never
// the rows: so nothing is reduced, and the result does not depend on the number of threads.
// Must not know about graphs. Allocates nothing. Convolutions with groups: kernels/cpu/grouped_conv.h.
// Tests: tests/kernels/conv_weight_gradient_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"
#include "elek/types.h"
#include "kernels/cpu/gemm_conv.h"

namespace elek::kernels::cpu {

/// The convolution whose weights' gradient is taken: x is its input, and g, the gradient of its output, has its output's size.
using WeightGradientProblem = GemmConvProblem;

struct WeightGradientPlan {
  WeightGradientProblem problem;
  int64_t out_height = 0;
  int64_t out_width = 0;
  int64_t chunk_rows = 0;    // rows of g that pass while a tile stays in registers
  size_t scratch_bytes = 0;  // one copy of dw, in tiles
};

/// Returns No with a reason if the layout is not blocked or the image is smaller than the kernel.
[[nodiscard]] Result<WeightGradientPlan> plan_weight_gradient(const WeightGradientProblem& problem);

/// Writes dw, or adds to it.
/// Shapes    x, g: as in the problem, in its layout, padding lanes zero
///           dw: [out_channels, channels, kernel.height, kernel.width], dense
/// Memory    scratch: plan.scratch_bytes, aligned to 64
/// Numerics  f32, products added in the order sample, row, column;
///           |error| <= (samples * out_height * out_width + 1) * 2^-24 * (sum |g x|);
///           same input, same bits, for every number of threads
/// Errors    ContractError: shapes that differ from the plan, more samples, null data
void weight_gradient(const WeightGradientPlan& plan, const ActivationView<const float>& x, const ActivationView<const float>& g,
                     float* scratch, float* dw, bool add = false);

/// db[k] (+)= sum over n,p,q of g[n,k,p,q], in double, rounded once. g: any layout.
void bias_gradient(const ActivationView<const float>& g, float* db, bool add, int threads);

}  // namespace elek::kernels::cpu
