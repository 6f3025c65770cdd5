// SPDX-License-Identifier: Apache-2.0
// What the oneDNN backend notes down about each step while lowering: which kernel, how it is sliced, what its last act does,
// where its parameters and sums lie in their slabs. Step i here is Program::steps[i]; step 0 is the preprocessing. Tests:
// tests/golden/session_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/backends/backend.h"
#include "engine/backends/onednn/dnnl_adapter.h"
#include "kernels/cpu/tap_norms.h"
#include "kernels/cpu/winograd.h"

namespace elek::onednn {

enum class Kind : uint8_t {
  kPreprocess,
  kConv,         // conv2d: oneDNN, then the epilogue where one is needed
  kLinear,       // linear: the same
  kElementwise,  // add, relu, batch_norm: the epilogue alone
  kMaxPool,
  kAvgPool,
  kGlobalAvgPool,
  kChannelMap,
  kRelayout,  // flatten of a blocked value
  kAlias,     // flatten of a value that lies flat already: nothing to do
};

inline constexpr size_t kNone = static_cast<size_t>(-1);

struct Step {
  Kind kind = Kind::kAlias;
  int32_t input = -1;  // tensors
  int32_t residual = -1;
  int32_t output = -1;
  bool relu = false;
  int64_t slice = 1;  // samples that a call of the kernel takes; what is left over goes one by one

  // Convolution and linear.
  std::unique_ptr<Primitive> whole;               // `slice` samples
  std::unique_ptr<Primitive> single;              // one sample; null if slice is 1
  std::optional<kernels::WinogradPlan> winograd;  // instead of the primitives: bias, residual, ReLU and sums are its last step
  bool bn_apart = false;                          // the epilogue scales and shifts
  bool epilogue = false;                          // it runs; else oneDNN's post-ops do residual and ReLU
  bool sum_in_place = false;                      // oneDNN adds onto the residual, whose storage is the output's
  bool z_in_workspace = false;                    // z cannot be written over the residual before it is added
  size_t z_offset = 0;                            // in the workspace, after the kernel's own scratch

  [[nodiscard]] bool has_weights() const { return whole != nullptr || winograd.has_value(); }

  // Offsets in the weights slab.
  size_t weights = kNone;
  size_t bias = kNone;
  size_t scale = kNone;  // bn_apart by stored statistics, or a batch_norm step
  size_t shift = kNone;
  std::string batch_norm;  // node whose parameters those are
  bool own_moments = false;

  int32_t watched = -1;       // index into Notes::watched
  bool watch_raw = false;     // Tap::kConv: sums of z, before everything else
  int32_t tap_norm = -1;      // index into Notes::tap_norms
  int32_t batch_moment = -1;  // index into Notes::batch_moments
};

struct Watched {
  std::string name;
  int32_t tensor = -1;  // of whose shape and layout it is
  uint32_t sums = 0;
  size_t offset = 0;  // in the statistics slab
};

struct WatchedTaps {
  std::string name;
  kernels::TapNormPlan plan;
  size_t offset = 0;
};

struct WatchedMoments {
  std::string batch_norm;
  int64_t channels = 0;
  double eps = 0;
  size_t parameters = 0;  // weights slab, [C] each: doubles old mean, old variance; floats gamma, beta
  size_t statistics = 0;  // statistics slab, [C] each: doubles mean, variance, unbiased variance of this batch, sum of means,
                          // sum of unbiased variances; floats scale, shift
};

/// Everything lowering decided beside the program.
struct Notes {
  LowerOptions options;
  int threads = 1;
  Layout layout = Layout::kNchw;  // of activations
  ImageShape input_shape;
  int32_t output = -1;  // tensor
  std::vector<Step> steps;
  std::vector<Watched> watched;
  std::vector<WatchedTaps> tap_norms;
  std::vector<WatchedMoments> batch_moments;
  size_t table_offset = 0;  // preprocessing table, in the weights slab
  size_t weights_bytes = 0;
  size_t statistics_bytes = 0;
  size_t packing_bytes = 0;  // the most that packing one layer's weights holds beside the weights slab
};

/// Offsets in the staging slab: pixels and labels of two slots, and the output of a batch.
struct StagingLayout {
  std::array<size_t, 2> pixels{}, labels{};
  size_t output = 0;
  size_t output_elements = 0;
  size_t bytes = 0;
};
[[nodiscard]] StagingLayout staging_layout(const Program& program, const Notes& notes);

/// Reserves `bytes` at the next aligned offset of a slab that is `slab` bytes so far.
[[nodiscard]] size_t reserve(size_t& slab, size_t bytes);
[[nodiscard]] inline int64_t lanes_of(const ProgramTensor& tensor) {
  return padded_channels(tensor.layout, tensor.shape.channels);
}

/// kernels[…] as statistics files record them: library, layout, slices and the kernels' own names, hashed.
[[nodiscard]] std::string describe_kernels(const Program& program, const Notes& notes);

[[nodiscard]] std::unique_ptr<Executable> make_executable(Program program, Notes notes, const Model& model,
                                                          const MemoryPlan& plan, MemoryResource& memory);

}  // namespace elek::onednn
