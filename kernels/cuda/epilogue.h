// SPDX-License-Identifier: Apache-2.0
// The epilogue on the GPU, for layers whose convolution kernel does not do it itself: y = act(scale * z + shift + residual),
// stored and summed per channel in one pass. It also runs elementwise nodes (add, relu, batch_norm kept apart). launch_observe
// sums a stored value that another kernel made.
// A block processes a tile of channels and a run of pixels; a thread processes kVec channels. Each thread adds 8 terms in f32
// (a chain), then adds the chain to double. Blocks write partial sums to the workspace; a second small kernel adds them to the
// totals, in order.
// Tests: tests/gpu/kernels/epilogue_test.cpp (SIMT harness and GPU)
#pragma once

#include "core/sums.h"
#include "elek/activation.h"
#include "kernels/cuda/activation.h"
#include "kernels/cuda/channel_totals.h"

namespace elek::kernels::cuda {

struct Epilogue {
  CudaActivation z;                // read; f32 or y's type
  CudaActivation y;                // written; same samples, shape and pitch as z
  const float* scale = nullptr;    // [C] device, null = 1
  const float* shift = nullptr;    // [C] device, null = 0 (the bias)
  const void* residual = nullptr;  // y's type and layout; null = none
  Activation activation = Activation::kNone;
  const ChannelTotals* totals = nullptr;  // device arrays; null = no sums
  void* workspace = nullptr;              // device, aligned to 8; epilogue_workspace_bytes; not needed without totals
  size_t workspace_bytes = 0;
};

/// Bytes of workspace for launch_epilogue and launch_observe: [slots][arrays][channels] of 8 bytes. `slots` is the number of
/// runs of pixels: at most 1024 / channel tiles; with kPerSample at least one per sample. There are 4 arrays, or 8 with
/// kMoments, kAbsolute or kRange. It never decreases with more samples, so the workspace of a full batch is enough for a
/// partial one. ContractError: shape out of range.
[[nodiscard]] size_t epilogue_workspace_bytes(int64_t samples, const ImageShape& shape, uint32_t sets);

/// y[n,c,p] = act(z'[n,c,p] + residual[n,c,p]),  z' = scale[c] * z[n,c,p] + shift[c] (one fused multiply-add),
/// act as in elek/activation.h, act(NaN) = NaN; sigmoid uses the device's expf. Adds to `totals` the sums of y as stored
/// (rounded to y's type) and, for kMoments, the sums of z' (f32, not rounded to y's type).
/// Shapes    any N, C, H, W >= 1 · scale, shift: [C] · totals: [C]
/// Types     z: f32 or y's type · y, residual: f32 | f16 | bf16 · computed in f32, summed in double and int64
/// Memory    reads z (and residual), writes y: once each; workspace written and read once
/// Aliasing  y may be z (same type) or residual exactly; partial overlap is an error that is not detected
/// Numerics  chains of 8 f32 terms, then double: |error| <= 9 * 2^-24 of the sum of absolute terms; counts are exact. Values
///           with |y| > 2^40, NaN and infinity are added in double directly, so squares never overflow. Squares below 2^-126
///           lose bits. NaN stays NaN in y and in every sum and maximum; NaN never counts as active; NaN and infinity are
///           counted. Same shape, types, alignment and sets: same bits, on every device.
/// Launches  1 without totals, 2 with them
/// Errors    see activation.h
void launch_epilogue(const Epilogue& epilogue, cudaStream_t stream);

/// The read-only form: adds the sums of a stored y to `totals`. Leaves kMoments unchanged, because z is not available. `only`
/// (Sums, combined): the sets to add, for example kPerSample after a fused kernel took the others. `nonfinite` is counted only
/// if `only` is kAllSums. Workspace: as above, for totals.sets.
void launch_observe(const CudaActivation& y, const ChannelTotals& totals, void* workspace, size_t workspace_bytes,
                    cudaStream_t stream, uint32_t only = kAllSums);

}  // namespace elek::kernels::cuda
