// SPDX-License-Identifier: Apache-2.0
// What every backend records about a step while lowering: its kind, the tensors that it reads and writes, and where its
// parameters and sums lie in the slabs. Step i is Program::steps[i]; step 0 is the preprocessing. Each backend derives its own
// Step and Notes.
// Tests: tests/golden/session_test.cpp, tests/deviceless/lower_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "core/error.h"
#include "elek/graph.h"
#include "kernels/common/moments.h"
#include "kernels/common/tap_norm_plan.h"

namespace elek::backends {

/// How a step runs. It follows from its operator's class (kind_of) and, for a reshape, from the layout of its input.
enum class Kind : uint8_t {
  kPreprocess,
  kConv,         // a convolution and the nodes fused with it
  kLinear,       // a linear layer and the nodes fused with it
  kElementwise,  // the epilogue alone
  kKernel,       // a kernel for this operator alone; each backend has a table of these
  kRelayout,     // a reshape of a value that must be reordered
  kAlias,        // a reshape of a value that need not be reordered: nothing to do
};
/// Never kAlias: for a reshape it returns kRelayout.
[[nodiscard]] constexpr Kind kind_of(OpClass of) {
  switch (of) {
    case OpClass::kInput:
      return Kind::kPreprocess;
    case OpClass::kConv:
      return Kind::kConv;
    case OpClass::kLinear:
      return Kind::kLinear;
    case OpClass::kBatchNorm:
    case OpClass::kAdd:
    case OpClass::kActivation:
      return Kind::kElementwise;
    case OpClass::kWindow:
    case OpClass::kReduction:
    case OpClass::kScale:
    case OpClass::kGather:
    case OpClass::kConcat:
      return Kind::kKernel;
    case OpClass::kReshape:
      return Kind::kRelayout;
  }
  throw ContractError("an operator class without a kind of step");
}
/// Whether a backend must have a kernel for this operator alone.
template <Operator Op>
inline constexpr bool kHasOwnKernel = kind_of(Op::kClass) == Kind::kKernel;

inline constexpr size_t kNone = static_cast<size_t>(-1);

/// Where a step writes its result.
enum class Place : uint8_t {
  kNew,       // into its own storage
  kInput,     // over its input (also for an alias)
  kResidual,  // over its residual
};

struct CommonStep {
  Kind kind = Kind::kAlias;
  int32_t input = -1;  // index into Program::tensors, like the next two; -1: none
  int32_t residual = -1;
  std::vector<int32_t> more;  // further inputs, of a concat
  int32_t output = -1;
  Activation activation;
  Place place = Place::kNew;

  bool bn_apart = false;   // the epilogue applies scale and shift of batch norm
  std::string batch_norm;  // the node that has their parameters

  // Offsets in the weights slab.
  size_t weights = kNone;
  size_t bias = kNone;
  size_t scale = kNone;  // for bn_apart with stored statistics, or a batch_norm step
  size_t shift = kNone;

  int32_t watched = -1;       // index into Notes::watched
  bool watch_raw = false;     // Tap::kConv: sums of z, the raw convolution
  int32_t tap_norm = -1;      // index into Notes::tap_norms
  int32_t batch_moment = -1;  // index into Notes::batch_moments: the epilogue normalises with the batch's moments
  [[nodiscard]] bool by_batch_moments() const noexcept { return batch_moment >= 0; }
  /// Number of inputs, and the tensor of one of them.
  [[nodiscard]] size_t inputs() const noexcept { return (residual < 0 ? 1 : 2) + more.size(); }
  [[nodiscard]] int32_t input_at(size_t i) const { return i == 0 ? input : i == 1 ? residual : more.at(i - 2); }
};

struct Watched {
  std::string name;
  int32_t tensor = -1;  // has the value's shape and layout
  uint32_t sums = 0;
  size_t offset = 0;  // in the statistics slab
};

/// A layer whose input norms are watched.
struct WatchedTaps {
  std::string name;
  kernels::TapNormPlan plan;
  size_t offset = 0;      // of the accumulators, in the statistics slab
  size_t tables = kNone;  // of the plan's tables in the weights slab, if the kernel reads them from there
};

struct WatchedMoments {
  std::string batch_norm;
  int64_t channels = 0;
  double eps = 0;
  size_t parameters = 0;  // weights slab, [C] each: doubles old mean, old variance; floats gamma, beta
  size_t statistics = 0;  // statistics slab, [C] each: doubles mean, variance, unbiased variance of this batch, sum of means,
                          // sum of unbiased variances; floats scale, shift
  [[nodiscard]] size_t parameter_bytes() const noexcept {
    return static_cast<size_t>(2 * channels) * (sizeof(double) + sizeof(float));
  }
  [[nodiscard]] size_t statistics_bytes() const noexcept {
    return static_cast<size_t>(channels) * (5 * sizeof(double) + 2 * sizeof(float));
  }
  /// Arguments for the kernel that computes scale and shift and adds to the sums: this layer's arrays in the two slabs.
  [[nodiscard]] kernels::Normalisation normalisation(const std::byte* weights_slab, std::byte* statistics_slab) const;
  /// The averages of the two sums ([C] each, one after the other) over `batches` batches.
  [[nodiscard]] BatchMoments average(const double* sums, int64_t batches) const;
};

/// What lowering decided besides the program and the steps.
struct CommonNotes {
  LowerOptions options;
  ImageShape input_shape;
  int32_t output = -1;  // index of the tensor that holds the logits
  std::vector<Watched> watched;
  std::vector<WatchedTaps> tap_norms;
  std::vector<WatchedMoments> batch_moments;
  size_t table_offset = 0;  // preprocessing table, in the weights slab
  size_t weights_bytes = 0;
  size_t statistics_bytes = 0;
  size_t packing_bytes = 0;  // largest temporary memory for packing one layer's weights
};

/// Appends `bytes` to a slab that holds `slab` bytes, aligned. Returns the offset.
[[nodiscard]] size_t reserve(size_t& slab, size_t bytes);

/// ContractError unless the slot holds 1 … batch samples of the program's input.
void check_slot(const Slot& slot, const Program& program, const CommonNotes& notes);

}  // namespace elek::backends
