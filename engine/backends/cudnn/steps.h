// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend notes down about each step while lowering: which kernels, and where their parameters and sums lie in
// their slabs. Step i here is Program::steps[i]; step 0 is the preprocessing. Tests: tests/deviceless/lower_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/backends/backend.h"
#include "engine/backends/cudnn/choose.h"
#include "engine/backends/cudnn/conv_graph.h"
#include "engine/backends/cudnn/linear.h"
#include "kernels/cuda/tap_norms.h"

namespace elek::cudnn {

enum class Kind : uint8_t {
  kPreprocess,
  kConv,
  kLinear,
  kElementwise,  // add, relu, batch_norm: the epilogue alone
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,
  kChannelMap,
  kRelayout,  // flatten of a value with more than one position
  kAlias,     // flatten of a feature vector: nothing to do
};

inline constexpr size_t kNone = static_cast<size_t>(-1);

struct Step {
  Kind kind = Kind::kAlias;
  int32_t input = -1;  // tensors
  int32_t residual = -1;
  int32_t output = -1;
  bool relu = false;

  // Convolution. Plans are made for a whole micro-batch; fewer samples run through the same plan, and what lies beyond them is
  // computed and ignored, except that sums taken inside it would count it: then `partial` is another way.
  Way way = Way::kWhole;
  ConvPlan plan;
  Way partial_way = Way::kWhole;
  ConvPlan partial_plan;
  uint32_t fused_sums = 0;                             // FusedSums that `plan` takes itself
  std::array<size_t, kFusedSumKinds> fused_offsets{};  // statistics slab

  std::shared_ptr<Linear> linear;
  bool linear_epilogue = false;  // z in the workspace, then the epilogue; else cuBLASLt writes y with its bias

  bool bn_apart = false;  // the epilogue scales and shifts
  bool own_moments = false;
  std::string batch_norm;  // node whose parameters those are

  // Offsets in the step's workspace, after the library's own.
  size_t z_offset = kNone;
  size_t sums_offset = kNone;
  size_t sums_bytes = 0;
  size_t moments_offset = kNone;
  size_t moments_bytes = 0;
  size_t taps_offset = kNone;
  size_t taps_bytes = 0;

  // Offsets in the weights slab.
  size_t weights = kNone;
  size_t bias = kNone;
  size_t scale = kNone;
  size_t shift = kNone;
  size_t table = kNone;  // channel map: source channels

  int32_t watched = -1;       // index into Notes::watched
  bool watch_raw = false;     // Tap::kConv: sums of z, before everything else
  int32_t tap_norm = -1;      // index into Notes::tap_norms
  int32_t batch_moment = -1;  // index into Notes::batch_moments
};

struct Watched {
  std::string name;
  int32_t tensor = -1;
  uint32_t sums = 0;
  size_t offset = 0;  // of the totals, in the statistics slab
};

struct WatchedTaps {
  std::string name;
  kernels::cuda::TapNormPlan plan;
  size_t offset = 0;  // of the accumulators, in the statistics slab
  size_t tables = 0;  // in the weights slab
};

struct WatchedMoments {
  std::string batch_norm;
  int64_t channels = 0;
  double eps = 0;
  size_t parameters = 0;  // weights slab, [C] each: doubles old mean, old variance; floats gamma, beta
  size_t statistics = 0;  // statistics slab, [C] each: doubles mean, variance, unbiased variance of this batch, sum of means,
                          // sum of unbiased variances; floats scale, shift
};

/// Everything lowering decided beside the program. The statistics slab begins with the f32 sums that kernels add to
/// (fused_bytes, zeroed before every pass), then the totals (to the end: reset on request), then the table that ties the two
/// together.
struct Notes {
  LowerOptions options;
  ImageShape input_shape;
  int32_t output = -1;  // tensor
  std::vector<Step> steps;
  std::vector<Watched> watched;
  std::vector<WatchedTaps> tap_norms;
  std::vector<WatchedMoments> batch_moments;
  size_t table_offset = 0;  // preprocessing table, in the weights slab
  size_t weights_bytes = 0;
  size_t fused_bytes = 0;
  size_t totals_bytes = 0;         // fused_bytes … totals_bytes: what is reset and read
  size_t slab_entries_offset = 0;  // in the statistics slab
  int64_t slab_entries = 0;
  size_t statistics_bytes = 0;
  size_t packing_bytes = 0;
  std::string library;  // "cuDNN 9.19.0, NVIDIA H200 sm90"
};

/// Reserves `bytes` at the next aligned offset of a slab that is `slab` bytes so far.
[[nodiscard]] size_t reserve(size_t& slab, size_t bytes);
/// Device staging of a session: pixels of two micro-batches, then the logits of one. Offsets in that order.
struct Staging {
  std::array<size_t, 2> pixels{};
  size_t output = 0;
  size_t bytes = 0;
};
[[nodiscard]] Staging lay_out_staging(const Program& program, const Notes& notes);

/// kernels[…] as statistics files record them: library, precision and the kernels' own names, hashed.
[[nodiscard]] std::string describe_kernels(const Program& program, const Notes& notes);

}  // namespace elek::cudnn
