// SPDX-License-Identifier: Apache-2.0
// Program: the result of lowering a graph for one backend and batch size. It lists the steps, and the bytes of every tensor and
// workspace as the backend really chose them. plan() computes offsets inside one arena from it. Both are plain data: no device
// memory here.
// Tests: tests/unit/plan_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "elek/types.h"
#include "graph/passes.h"

namespace elek {

/// One stored activation.
struct ProgramTensor {
  std::string name;  // the graph's value name
  ValueId value = -1;
  ImageShape shape;
  DType dtype = DType::kF32;
  float scale = 1;  // of 8-bit integers: value = scale * q
  Layout layout = Layout::kNchw;
  int64_t channel_pitch = 0;
  size_t bytes = 0;      // padded, for Program::micro_batch samples
  int32_t storage = -1;  // tensors computed in place share a storage
};

/// A range of arena bytes with a lifetime: from the step that first writes it to the step that last reads it, inclusive.
struct Storage {
  std::string name;
  size_t bytes = 0;
  int32_t first_step = 0;
  int32_t last_step = 0;
};

struct ProgramStep {
  FusedNode node;
  int32_t input = -1;  // index into tensors
  int32_t residual = -1;
  std::vector<int32_t> more;  // further inputs, of a concat
  int32_t output = -1;
  size_t workspace_bytes = 0;  // alive during this step only
  size_t weights_bytes = 0;    // packed weights that the kernel reads
  double arithmetic = 1;       // multiply-adds that the kernel does / those of the definition: less than 1 for Winograd
  bool observed = false;
  bool alias = false;  // nothing runs: the output is the input, byte for byte
  std::string kernel;  // "oneDNN jit:avx512_core", "winograd F(4x4) avx512", …
  std::string choice;  // why this kernel, with times if there was a choice; for `elek profile`

  /// Calls f(tensor) for each input, as often as the step reads it.
  template <typename F>
  void for_each_read(const F& f) const {
    for (const int32_t read : {input, residual}) {
      if (read >= 0) f(read);
    }
    for (const int32_t read : more) f(read);
  }
};

struct Program {
  int64_t batch = 0;        // largest number of samples per run
  int64_t micro_batch = 0;  // samples that pass through the steps together
  std::vector<ProgramTensor> tensors;
  std::vector<ProgramStep> steps;
  std::vector<Storage> storages;
};

struct MemoryPlan {
  std::vector<size_t> storage_offsets;    // one per storage
  std::vector<size_t> workspace_offsets;  // one per step
  size_t arena_bytes = 0;
  size_t lower_bound_bytes = 0;          // largest sum of aligned bytes alive at one step, workspace included
  size_t activations_bound_bytes = 0;    // the same without workspace
  int32_t peak_step = 0;                 // the first step that reaches the lower bound
  size_t activations_at_peak_bytes = 0;  // the bound without that step's workspace
  double orders = 1;                     // number of legal orders among which this one needs least (plan/order.h)
};

}  // namespace elek
