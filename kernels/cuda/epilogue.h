// SPDX-License-Identifier: Apache-2.0
// The epilogue of a split layer on the GPU: y = act(scale * z + shift + residual), stored and summed per channel in one pass.
// Also every standalone elementwise node (add, relu, batch_norm kept apart) and, in the read-only form (launch_observe), the
// sums of a value that some other kernel has stored.
// A block owns a tile of channels and a run of pixels; a thread owns kVec channels, so sums need no shuffles. f32 chains of 8
// terms go to double; blocks leave partial sums in the workspace and a second small kernel adds them, in order, to the totals.
// Tests: tests/gpu/kernels/epilogue_test.cpp (SIMT harness and GPU)
#pragma once

#include "core/sums.h"
#include "elek/activation.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/channel_totals.h"

namespace elek::kernels::cuda {

struct Epilogue {
  CudaActivation z;                // read: f32 or y's type
  CudaActivation y;                // written: samples, shape and pitch of z
  const float* scale = nullptr;    // [C] device, null = 1
  const float* shift = nullptr;    // [C] device, null = 0 (the bias)
  const void* residual = nullptr;  // y's type and layout; null = none
  Activation activation = Activation::kNone;
  const ChannelTotals* totals = nullptr;  // device arrays; null = no sums
  void* workspace = nullptr;              // device, aligned to 8; epilogue_workspace_bytes; not needed without totals
  size_t workspace_bytes = 0;
};

/// Bytes of workspace for launch_epilogue and launch_observe: [slots][arrays][channels] of 8 bytes, where `slots` is the number
/// of runs of pixels (at most 1024 / channel tiles; with kPerSample at least one a sample). Never smaller for more samples, so
/// that what a full batch needs is enough for a partial one. 4 arrays,
/// or 8 with kMoments, kAbsolute or kRange. ContractError: shape out of range.
[[nodiscard]] size_t epilogue_workspace_bytes(int64_t samples, const ImageShape& shape, uint32_t sets);

/// y[n,c,p] = act(z'[n,c,p] + residual[n,c,p]),  z' = scale[c] * z[n,c,p] + shift[c] (one fused multiply-add),
/// act as elek/activation.h says, act(NaN) = NaN; the sigmoid's exp is the device's expf. Adds to `totals` the sums of y as
/// stored (rounded to y's type), and of z' (f32, not rounded to y's type) for kMoments. Shapes    any N, C, H, W >= 1 · scale,
/// shift: [C] · totals: [C] Types     z: f32 | y's · y, residual: f32 | f16 | bf16 · arithmetic f32, sums double and int64
/// Memory    reads z (and residual), writes y: once each; workspace written and read once
/// Aliasing  y may be z (same type) or residual exactly; partial overlap is an error that is not detected
/// Numerics  chains of 8 f32 terms, then double: |error| <= 9 * 2^-24 of the sum of absolute terms; counts exact. |y| > 2^40
///           and what is not finite goes to double at once, so squares never overflow. Squares below 2^-126 lose bits.
///           NaN stays NaN in y and in every sum and maximum; a NaN is never active; NaN and infinity are counted.
///           Same shape, types, alignment and sets: same bits, on every device.
/// Launches  1 without totals, 2 with them
/// Errors    see activation.h
void launch_epilogue(const Epilogue& epilogue, cudaStream_t stream);

/// The read-only form: adds the sums of an existing y to `totals`. kMoments, if laid out, is left alone: z is not there. `only`
/// (Sums, combined) restricts which of the laid-out sets are added, e.g. kPerSample after a fused kernel took the others;
/// `nonfinite` is counted only when `only` is everything. Workspace: as above, for totals.sets.
void launch_observe(const CudaActivation& y, const ChannelTotals& totals, void* workspace, size_t workspace_bytes,
                    cudaStream_t stream, uint32_t only = kAllSums);

}  // namespace elek::kernels::cuda
