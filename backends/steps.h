// SPDX-License-Identifier: Apache-2.0
// What every backend notes down about a step while lowering, whatever library runs it: what kind of step it is, which tensors
// it reads and writes, where its parameters and sums lie in their slabs. Step i is Program::steps[i]; step 0 is the
// preprocessing. A backend derives its own Step and Notes and adds its kernels. Tests: tests/golden/session_test.cpp,
// tests/deviceless/lower_test.cpp
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

/// How a step runs. It follows from its operator's class (kind_of) and, for a reshape, from how its input lies in memory.
enum class Kind : uint8_t {
  kPreprocess,
  kConv,         // a convolution and what is fused behind it
  kLinear,       // a linear layer and what is fused behind it
  kElementwise,  // the epilogue alone
  kKernel,       // a kernel of the operator's own: each backend has a table of them
  kRelayout,     // a reshape of a value that does not lie flat
  kAlias,        // a reshape of a value that does: nothing to do
};
/// Never kAlias: a reshape is kRelayout.
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
      return Kind::kKernel;
    case OpClass::kReshape:
      return Kind::kRelayout;
  }
  throw ContractError("an operator class without a kind of step");
}
/// Whether a backend must have a kernel for just this operator.
template <Operator Op>
inline constexpr bool has_own_kernel = kind_of(Op::kClass) == Kind::kKernel;

inline constexpr size_t kNone = static_cast<size_t>(-1);

/// Where a step's result goes.
enum class Place : uint8_t {
  kNew,       // into a storage of its own
  kInput,     // over its input (an alias included)
  kResidual,  // over its residual
};

struct CommonStep {
  Kind kind = Kind::kAlias;
  int32_t input = -1;  // tensors
  int32_t residual = -1;
  int32_t output = -1;
  Activation activation;
  Place place = Place::kNew;

  bool bn_apart = false;   // the epilogue scales and shifts
  std::string batch_norm;  // node whose parameters those are

  // Offsets in the weights slab.
  size_t weights = kNone;
  size_t bias = kNone;
  size_t scale = kNone;  // bn_apart by stored statistics, or a batch_norm step
  size_t shift = kNone;

  int32_t watched = -1;       // index into Notes::watched
  bool watch_raw = false;     // Tap::kConv: sums of z, before everything else
  int32_t tap_norm = -1;      // index into Notes::tap_norms
  int32_t batch_moment = -1;  // index into Notes::batch_moments: the epilogue normalises by the batch's moments
  [[nodiscard]] bool by_batch_moments() const noexcept { return batch_moment >= 0; }
};

struct Watched {
  std::string name;
  int32_t tensor = -1;  // of whose shape and layout it is
  uint32_t sums = 0;
  size_t offset = 0;  // in the statistics slab
};

/// A layer whose input norms are wanted.
struct WatchedTaps {
  std::string name;
  kernels::TapNormPlan plan;
  size_t offset = 0;      // of the accumulators, in the statistics slab
  size_t tables = kNone;  // of what the kernel reads of the plan, in the weights slab, where it reads it from there
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
  /// What computes scale and shift and adds to the sums, over this layer's arrays in the two slabs.
  [[nodiscard]] kernels::Normalisation normalisation(const std::byte* weights_slab, std::byte* statistics_slab) const;
  /// What averaging gives of the two sums ([C] each, one behind the other) after `batches` batches.
  [[nodiscard]] BatchMoments average(const double* sums, int64_t batches) const;
};

/// What lowering decided beside the program and the steps.
struct CommonNotes {
  LowerOptions options;
  ImageShape input_shape;
  int32_t output = -1;  // tensor
  std::vector<Watched> watched;
  std::vector<WatchedTaps> tap_norms;
  std::vector<WatchedMoments> batch_moments;
  size_t table_offset = 0;  // preprocessing table, in the weights slab
  size_t weights_bytes = 0;
  size_t statistics_bytes = 0;
  size_t packing_bytes = 0;  // the most that packing one layer's weights holds beside the weights slab
};

/// Reserves `bytes` at the next aligned offset of a slab that is `slab` bytes so far.
[[nodiscard]] size_t reserve(size_t& slab, size_t bytes);

/// ContractError unless the slot holds 1 … batch samples of the program's input.
void check_slot(const Slot& slot, const Program& program, const CommonNotes& notes);

}  // namespace elek::backends
