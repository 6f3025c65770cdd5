// SPDX-License-Identifier: Apache-2.0
// One convolution in the form in which cuDNN is asked for it: plain numbers, no library. Its key names it in the plan cache, so
// the key holds exactly what changes the generated kernel. Tests: tests/deviceless/conv_problem_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"
#include "elek/types.h"
#include "elek/window.h"
#include "graph/passes.h"

namespace elek::backends::cuda {

/// Per-channel sums that the convolution's own kernel takes, combined with |. Their order is their order in the slab.
enum FusedSums : uint32_t {
  kSumY = 1,
  kSumYSquared = 2,
  kCountActive = 4,  // #{y > threshold}, as f32
  kMaxY = 8,
  kSumZ = 16,
  kSumZSquared = 32,
};
inline constexpr int kFusedSumKinds = 6;
inline constexpr uint32_t kEveryFusedSum = 63;

/// The epilogue in the convolution's kernel. The full epilogue has two forms:
///   without sums   conv, [+ residual], + bias of x's type, [ReLU], store. This is the only form that cuDNN's precompiled
///                  kernels take: with an f32 bias, or with the bias first, Hopper gets kernels for Ampere. The cost is one
///                  more rounding of the bias.
///   with sums      conv, + f32 bias = z, [+ residual], [ReLU], store, sums of what was stored and of z
enum class ConvEpilogue : uint8_t {
  kNone,  // the raw convolution is stored
  kFull,
};

/// Always NHWC. Channels and filters are those that are computed, with padding channels (their weights are zero).
struct ConvProblem {
  int64_t samples = 1;
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t filters = 0;
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  Extent dilation = 1;
  int64_t groups = 1;
  int64_t x_pitch = 0;  // elements between neighbouring pixels; >= channels
  int64_t y_pitch = 0;
  Precision precision = Precision::kF16;
  ConvEpilogue epilogue = ConvEpilogue::kNone;
  bool residual = false;
  bool relu = false;
  bool deterministic = false;  // refuse kernels whose order of summation may change between runs
  uint32_t sums = 0;           // FusedSums; needs ConvEpilogue::kFull

  [[nodiscard]] ImageShape out() const noexcept {
    return Window{kernel, stride, padding, dilation}.slide({filters, height, width});
  }
  [[nodiscard]] int64_t out_height() const noexcept { return out().height; }
  [[nodiscard]] int64_t out_width() const noexcept { return out().width; }
  /// The type in which the kernel reads the bias, if it adds one.
  [[nodiscard]] DType bias_dtype() const noexcept { return sums == 0 ? storage_of(precision) : DType::kF32; }
  [[nodiscard]] size_t x_bytes() const;
  [[nodiscard]] size_t w_bytes() const;
  [[nodiscard]] size_t y_bytes() const;
};

/// "n32 c64 h56 w56 k64 r3 s1 p1 g1 xp64 yp64 f16 f32bias+residual+relu sums63". Without sums: "residual+bias+relu". With
/// dilation also "d2" after the padding.
[[nodiscard]] std::string key(const ConvProblem& problem);

/// The largest count that an f32 holds exactly.
inline constexpr int64_t kExactCount = int64_t{1} << 24;

/// The fused sums that give the sets `sets` (elek::Sums) of a value, or the reason why the convolution's kernel cannot take
/// them. `positions` = samples * height * width of the output.
[[nodiscard]] Result<uint32_t> fused_sums_for(uint32_t sets, bool relu, int64_t positions);

/// The channel count to which an activation is padded: pixels of a multiple of 16 bytes, so that loads are whole.
[[nodiscard]] int64_t pitch_of(int64_t channels, Precision precision);

/// The raw convolution of a fused step (a conv2d). Values are padded to pitch_of their channels. Padding channels are computed
/// too (their weights are zero). Grouped convolutions compute only their own channels.
[[nodiscard]] ConvProblem problem_of(const Graph& graph, const FusedNode& step, int64_t samples, Precision precision);
/// The same with its epilogue: bias, residual, ReLU, and the fused sums `sums`.
[[nodiscard]] ConvProblem with_epilogue(ConvProblem problem, const FusedNode& step, uint32_t sums);

}  // namespace elek::backends::cuda
