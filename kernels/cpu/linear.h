// SPDX-License-Identifier: Apache-2.0
// Linear layer in f32: y = x W^T + bias.
// A register holds neighbouring outputs; four of them for each of a few samples are summed over all inputs, so each weight is
// read once for those samples. With few samples memory limits the speed, because each weight is used that often only.
// Must not know about graphs or sessions. Allocates nothing: the caller owns the packed weights.
// Tests: tests/kernels/linear_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

namespace elek::kernels::cpu {

/// x [samples, in] with in_pitch floats between samples -> y [samples, out] with out_pitch floats between samples.
struct LinearLayer {
  int64_t samples = 0;  // largest number; a run may have fewer
  int64_t in = 0;
  int64_t out = 0;
  int64_t in_pitch = 0;
  int64_t out_pitch = 0;
  int threads = 1;
};

struct LinearPlan {
  LinearLayer layer;
  size_t packed_bytes = 0;
  size_t scratch_bytes = 0;  // none
};

/// Errors    ContractError: a count or pitch that is not positive, or a pitch shorter than its row
[[nodiscard]] LinearPlan plan_linear(const LinearLayer& layer);

/// Shapes    weights: [out, in] dense f32 · packed: plan.packed_bytes, aligned to 64
/// Memory    writes all of packed: [group of 4 vectors][in][output of the group]; outputs after the last are zero
void pack_linear_weights(const LinearPlan& plan, const float* weights, float* packed);

/// Shapes    bias: [out] · floats of y between the rows are not written
/// Threads   the threads divide the outputs
/// Numerics  products added in the order of the inputs, in f32: |error| <= (in + 1) * 2^-24 * (sum |w x| + |b|);
///           same input, same bits, for every number of threads and samples
void linear(const LinearPlan& plan, int64_t samples, const float* x, const float* packed, const float* bias, float* y);

}  // namespace elek::kernels::cpu
