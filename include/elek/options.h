// SPDX-License-Identifier: Apache-2.0
// LowerOptions: everything that lowering a model needs to know, on any device. SessionOptions (elek/session.h) derives from it,
// so each option is declared and explained once, here. Plain data; what a backend cannot do it refuses when it lowers.
// Tests: tests/golden/session_test.cpp, tests/golden/plan_bound_test.cpp
#pragma once

#include <cstdint>

#include "elek/export.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/statistics.h"
#include "elek/types.h"

namespace elek {

/// Winograd convolutions (docs/winograd.md): by the backend's rule, never, or wherever possible with one tile size.
enum class Winograd : uint8_t { kAuto, kOff, k2x2, k4x4 };

/// How a convolution gets its kernel where several fit.
enum class KernelChoice : uint8_t {
  kRule,        // by a rule over its shape: the same kernel every time
  kMeasured,    // the fastest of those timed on this machine; what is not timed yet is timed now, and kept on disk
  kRemembered,  // the fastest of those timed earlier; by the rule where none was. Times nothing
};

struct LowerOptions {
  Precision precision = Precision::kF32;  // the CPU knows f32 and, where it multiplies that, bf16
  int64_t batch = 50;                     // samples that a run may hold
  int64_t micro_batch = 0;                // samples that pass through the steps at a time; 0 = the backend's choice
  int threads = 0;                        // CPU threads; 0 = all
  Probes probes;                          // what is watched
  BatchNorm batch_norm = BatchNorm::kFold;
  /// With kApart: normalise each layer by the moments of the batch and average them (batch-norm re-estimation); the whole batch
  /// is then one micro-batch. Off: by the stored running statistics.
  bool batch_moments = false;
  bool deterministic = false;           // the CPU's kernels always are, for a fixed number of threads
  Winograd winograd = Winograd::kAuto;  // CPU only; deterministic turns it off
  /// CPU only: a GPU's kernels are always timed. Sums and logits of two kernels differ in their last digits, so what must come
  /// out the same again asks for kRule. deterministic, a forced winograd, batch norm kept apart and keep_values mean kRule.
  KernelChoice kernels = KernelChoice::kRule;
  /// Debugging and tests: every stored value keeps its own storage until the next run, so that stored_value() can read it. The
  /// whole batch is then one micro-batch and nothing is computed in place.
  bool keep_values = false;
  /// Where the memory comes from: the session's, and what lowering needs for a moment to time kernels. Null = the device's own.
  MemoryResource* memory = nullptr;
};

}  // namespace elek
