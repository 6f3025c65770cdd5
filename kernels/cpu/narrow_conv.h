// SPDX-License-Identifier: Apache-2.0
// Convolution of narrow types on blocked activations: 8-bit integers, whose products are added exactly in 32 bits, or bf16,
// whose products are added in f32. The epilogue turns each sum into f32, adds bias and residual, applies the activation, rounds
// to the output's type and takes the per-channel sums of the rounded values, all in registers. The instruction multiplies a
// word of 32 bits: four bytes on AVX-512 with VNNI, two bf16 with AVX512_BF16, else two integers. One step loads two vectors of
// weights and broadcasts one word a pixel. Pixels of a panel lie side by side, so one pointer serves all of them. Where they do
// not (larger kernels, strides, padding), or where the input has another type, a unit of rows is first copied ("staged") into
// the scratch with its padding: one copy of each value, not one per tap.
// Must not know about graphs or sessions. Allocates nothing: the caller owns scratch and packed weights.
// Tests: tests/kernels/narrow_conv_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/result.h"
#include "elek/activation.h"
#include "elek/types.h"
#include "elek/window.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// What a word is, and which instruction multiplies it.
enum class Multiply : uint8_t {
  kPairs,  // two integers of 16 bits; every CPU
  kVnni,   // four bytes; AVX-512 with VNNI
  kBf16    // two bf16; AVX-512 with AVX512_BF16
};
[[nodiscard]] bool can_multiply(Multiply how);  // here

/// How values are stored: kF32 or kBF16 as they are, or integers q (kU8, kI8) with value = scale * q.
struct StoredAs {
  DType type = DType::kF32;
  float scale = 1;
};

/// x [samples, channels, height, width] -> y [samples, out_channels, window().slide()].
struct NarrowConvProblem {
  int64_t samples = 0;  // largest number; a run may have fewer
  int64_t channels = 0;
  int64_t out_channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  Layout layout = Layout::kNChw16c;
  int threads = 1;
  Extent dilation = 1;
  bool plain_input = false;    // x is NCHW, of at most a block of channels: a first layer's few channels then need no padding
  DType x_type = DType::kF32;  // f32 is rounded to the grid when it is staged; kU8, kI8 are of the grid
  float x_scale = 1;           // of the grid
  bool x_signed = false;       // the grid is -128 … 127, else 0 … 255
  Multiply multiply = Multiply::kPairs;  // can_multiply() must be true; kBf16 wants x in bf16
  [[nodiscard]] Window window() const noexcept { return {kernel, stride, padding, dilation}; }
};

/// How the work is divided. Made once, used by every run.
struct NarrowConvPlan {
  NarrowConvProblem problem;
  int64_t out_height = 0;
  int64_t out_width = 0;
  int word_values = 2;      // integers in a 32-bit word: 4 or 2
  int64_t pixel_words = 0;  // words of one channel block of one pixel
  int64_t words = 0;        // words of one pixel, all channels, without the padding of the last block
  bool staged = false;      // units are copied to the scratch first; else a sample is one line of pixels
  int64_t lines = 1;        // lines of output pixels per sample
  int64_t line_pixels = 0;
  int64_t unit_samples = 1;    // samples per unit
  int64_t bands = 1;           // units per sample, if unit_samples is 1
  int64_t staged_columns = 0;  // columns of one phase of a staged row
  int64_t staged_rows = 0;     // most staged rows of a sample in a unit
  bool split_outputs = false;  // threads divide the output channels; else the units
  size_t packed_bytes = 0;
  size_t scratch_bytes = 0;  // of all threads
  [[nodiscard]] int64_t units(int64_t samples) const noexcept {
    return bands > 1 ? samples * bands : (samples + unit_samples - 1) / unit_samples;
  }
};

/// Returns No with a reason if the layout is not blocked, the image is smaller than the kernel, or so many products are added
/// that 32 bits might not hold the sum.
[[nodiscard]] Result<NarrowConvPlan> plan_narrow_conv(const NarrowConvProblem& problem);

/// Shapes    weights: [K, C, R, S] integers -127 … 127 · scales: [K], of the weights · packed: plan.packed_bytes, aligned to 64
/// Memory    writes all of packed; padding outputs are zero
void pack_narrow_conv_weights(const NarrowConvPlan& plan, std::span<const int8_t> weights, std::span<const float> scales,
                              void* packed);

/// Shapes    weights: [K, C, R, S], rounded to bf16 · the rest as above
void pack_narrow_conv_weights(const NarrowConvPlan& plan, const float* weights, void* packed);

/// Shapes    x: the plan's input, stored as problem.x_type · residual, y: the plan's output · bias: [padded K], padding zero
/// Layout    all in problem.layout, x as the problem says; padding lanes of y become zero
/// Aliasing  y may be the residual's memory if both are stored alike; x overlaps nothing
/// Threads   work is cut into problem.threads parts; part i adds to the i-th accumulators of `sums`
/// Sums      kActivity, kMoments, kAbsolute, kRange of y as stored (z before residual and activation); kPerSample is not taken
struct NarrowConvArgs {
  int64_t samples = 0;
  const void* x = nullptr;
  const void* packed = nullptr;
  const float* bias = nullptr;
  const void* residual = nullptr;  // null = none
  StoredAs residual_stored;
  Activation activation{};  // must be a clamp
  void* y = nullptr;
  StoredAs y_stored;
  std::optional<float> y_scale;  // the grid that y is rounded to: always if it is integers
  bool y_signed = false;
  void* scratch = nullptr;
  const ChannelSums* sums = nullptr;  // null = no sums
};

/// y = round(act(scale * conv(q, w) + bias [+ residual])) and the sums; in bf16 the scale is 1.
/// Numerics  of integers the sum of products is exact, of bf16 it is f32's: |error| <= C * R * S * 2^-24 * (sum |w x|), and
/// numbers
///           below 2^-126 are 0; then one multiply-add, one addition and the rounding, in f32. Same input, same bits,
///           for every number of threads and samples (sums: only for the same number of threads)
void narrow_conv(const NarrowConvPlan& plan, const NarrowConvArgs& args);

}  // namespace elek::kernels::cpu
