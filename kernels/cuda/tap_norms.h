// SPDX-License-Identifier: Apache-2.0
// The tap norms (Wanda's input norms) on the GPU. One pass over x sums its squares per (row class, column class) pair of the
// plan (kernels/common/tap_norm_plan.h). Tests: tests/gpu/kernels/tap_norms_test.cpp
#pragma once

#include <vector>

#include "kernels/common/tap_norm_plan.h"
#include "kernels/cuda/activation.h"

namespace elek::kernels::cuda {

/// The tables of a plan that the kernel reads; upload them unchanged. In order: begin of each row class [row classes + 1],
/// begin of each column class [column classes + 1], rows sorted by class, columns sorted by class. Rows and columns that no tap
/// meets are omitted.
[[nodiscard]] std::vector<int32_t> tap_norm_tables(const TapNormPlan& plan);

/// Bytes of the accumulators: double [pairs][channels]; zero them before the first batch. 72 bytes per channel for a 3x3.
[[nodiscard]] size_t tap_norm_bytes(const TapNormPlan& plan);
/// Bytes of workspace for up to `samples` samples: double [pairs][splits][channels]. Never decreases with more samples.
[[nodiscard]] size_t tap_norm_workspace_bytes(const TapNormPlan& plan, int64_t samples);

/// Adds the squares of x's samples to `accumulators` (device). `tables`: tap_norm_tables(plan) in device memory.
/// Shapes    x: shape = plan.input, any number of samples with samples * H * W < 2^31, any type
/// Numerics  chains of 8 f32 squares, then double: relative error <= 9 * 2^-24 (all terms are >= 0); |x| > 2^40, NaN and
///           infinity are squared in double directly. NaN and infinity stay. Fixed order, no atomics.
/// Memory    reads x once; allocates nothing · Launches 2
/// Errors    ContractError: shape differs from the plan's, null data, workspace too small
void launch_tap_norms(const CudaActivation& x, const TapNormPlan& plan, const int32_t* tables, double* accumulators,
                      void* workspace, size_t workspace_bytes, cudaStream_t stream);

/// On the host: computes norm_sq[(c * R + r) * S + s], [channels, R, S], from a downloaded copy of the accumulators, by adding
/// the pairs of each tap.
void reduce_tap_norms(const TapNormPlan& plan, const double* host_accumulators, double* norm_sq);

}  // namespace elek::kernels::cuda
