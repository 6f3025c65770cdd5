// SPDX-License-Identifier: Apache-2.0
// LowerOptions: the options for lowering a model, on any device. SessionOptions (elek/session.h) derives from it, so each
// option is declared and explained once, here. Plain data. If a backend cannot do what an option asks, lowering refuses.
// Tests: tests/golden/session_test.cpp, tests/golden/plan_bound_test.cpp
#pragma once

#include <cstdint>

#include "elek/export.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/statistics.h"
#include "elek/types.h"

namespace elek {

/// Winograd convolutions (docs/winograd.md): as the backend's rule decides, never, or wherever possible with one tile size.
enum class Winograd : uint8_t { kAuto, kOff, k2x2, k4x4 };

/// How a convolution's kernel is chosen if several fit.
enum class KernelChoice : uint8_t {
  kRule,        // a rule over its shape decides: the same kernel every time
  kMeasured,    // the fastest of those timed on this machine; times what is not timed yet, and stores it on disk
  kRemembered,  // the fastest of those timed earlier; the rule decides if none was. Times nothing
};

struct LowerOptions {
  Precision precision = Precision::kF32;  // the CPU has f32, int8 for quantised models, and bf16 if it can multiply that
  int64_t batch = 50;                     // largest number of samples in a run
  int64_t micro_batch = 0;                // samples that pass through the steps together; 0 = the backend's choice
  int threads = 0;                        // CPU threads; 0 = all
  Probes probes;                          // what to watch
  BatchNorm batch_norm = BatchNorm::kFold;
  /// With kApart: normalise each layer with the moments of the batch, and average them (batch-norm re-estimation). The whole
  /// batch is then one micro-batch. Off: normalise with the stored running statistics.
  bool batch_moments = false;
  bool deterministic = false;           // CPU kernels always are, for a fixed number of threads
  Winograd winograd = Winograd::kAuto;  // CPU only; deterministic turns it off
  /// CPU only: a GPU's kernels are always timed. Two kernels differ in the last digits of sums and logits. Use kRule if results
  /// must be repeatable. deterministic, a forced winograd, batch norm kept apart and keep_values imply kRule.
  KernelChoice kernels = KernelChoice::kRule;
  /// Debugging and tests: every stored value keeps its own storage until the next run, so that stored_value() can read it. The
  /// whole batch is then one micro-batch and nothing is computed in place.
  bool keep_values = false;
  /// Memory for the session, and for a short time for lowering while it times kernels. Null = the device's own.
  MemoryResource* memory = nullptr;
};

}  // namespace elek
