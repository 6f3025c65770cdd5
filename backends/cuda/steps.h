// SPDX-License-Identifier: Apache-2.0
// What the CUDA backend records about a step, besides what every backend does: its kernels, and the places of their data in the
// workspace and in the statistics slab. Tests: tests/deviceless/lower_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/choose.h"
#include "backends/cuda/cudnn/conv_graph.h"
#include "backends/cuda/linear.h"
#include "backends/host_staging.h"
#include "backends/steps.h"

namespace elek::backends::cuda {

struct Step : CommonStep {
  // Convolution. Plans are made for a whole micro-batch. Fewer samples run through the same plan; what lies after them is
  // computed and ignored. But sums inside the plan would count it, so then partial_fusion and partial_plan differ.
  Fusion fusion = Fusion::kAll;
  ConvPlan plan;
  Fusion partial_fusion = Fusion::kAll;
  ConvPlan partial_plan;
  size_t stored_bias = kNone;                          // weights slab: the bias in the storage type (bias_dtype())
  bool adds_in_place = false;                          // both may write over their residual
  uint32_t fused_sums = 0;                             // FusedSums that `plan` takes itself
  std::array<size_t, kFusedSumKinds> fused_offsets{};  // statistics slab

  std::shared_ptr<Linear> linear;
  bool linear_epilogue = false;  // z goes to the workspace, then the epilogue runs; else cuBLASLt writes y with its bias

  // Offsets in the step's workspace, after the library's own part.
  size_t z_offset = kNone;
  size_t sums_offset = kNone;
  size_t sums_bytes = 0;
  size_t moments_offset = kNone;
  size_t moments_bytes = 0;
  size_t taps_offset = kNone;
  size_t taps_bytes = 0;

  size_t table = kNone;  // channel map: source channels, in the weights slab
};

/// What lowering decided besides the program. The statistics slab begins with the f32 sums that kernels add to (fused_bytes,
/// zeroed before every pass). Then come the totals (up to totals_bytes, reset on request), then the table that says which sums
/// are added to which totals.
struct Notes : CommonNotes {
  std::vector<Step> steps;
  size_t fused_bytes = 0;
  size_t totals_bytes = 0;         // fused_bytes … totals_bytes is reset and read
  size_t slab_entries_offset = 0;  // in the statistics slab
  int64_t slab_entries = 0;
  std::string library;  // "cuDNN 9.19.0, NVIDIA H200 sm90"
};

/// Staging of a session on the device: pixels of two micro-batches, then the logits of one. Offsets in that order.
struct Staging {
  std::array<size_t, 2> pixels{};
  size_t output = 0;
  size_t bytes = 0;
};
[[nodiscard]] Staging lay_out_staging(const Program& program, const Notes& notes);

/// `kernels` as statistics files record it: library, precision, batch, and a hash of the kernels' names.
[[nodiscard]] std::string describe_kernels(const Program& program, const Notes& notes);

}  // namespace elek::backends::cuda
