// SPDX-License-Identifier: Apache-2.0
// What the oneDNN backend notes down about each step beside what every backend does: which kernel, how it is sliced, what its
// last act does. Tests: tests/golden/session_test.cpp
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/cpu/conv_kernel.h"
#include "backends/cpu/kernel_times.h"
#include "backends/cpu/onednn.h"
#include "backends/host_staging.h"
#include "backends/steps.h"

namespace elek::backends::cpu {

struct Step : CommonStep {
  int64_t slice = 1;  // samples that a call of the kernel takes; what is left over goes one by one

  // Convolution and linear.
  std::unique_ptr<Primitive> whole;   // `slice` samples
  std::unique_ptr<Primitive> single;  // one sample; null if slice is 1
  std::optional<OwnConv> own;         // instead of the primitives: bias, residual, ReLU and sums are its last step
  std::string times_key;              // of a convolution that has the choice of kernels; else empty
  bool timed = false;                 // times are known under that key, and decided
  bool epilogue = false;              // it runs; else oneDNN's post-ops do residual and ReLU
  bool sum_in_place = false;          // oneDNN adds onto the residual, whose storage is the output's
  bool z_in_workspace = false;        // z may not be written over the residual, or be rounded before its last act
  size_t z_offset = 0;                // in the workspace, after the kernel's own scratch
  size_t moments_offset = 0;          // likewise, of batch_moments

  [[nodiscard]] bool has_weights() const { return whole != nullptr || own.has_value(); }
};

/// Everything lowering decided beside the program.
struct Notes : CommonNotes {
  int threads = 1;
  Layout layout = Layout::kNchw;  // of activations
  std::vector<Step> steps;
};

[[nodiscard]] inline int64_t lanes_of(const ProgramTensor& tensor) {
  return padded_channels(tensor.layout, tensor.shape.channels);
}

/// kernels[…] as statistics files record them: library, layout, slices and the kernels' own names, hashed.
[[nodiscard]] std::string describe_kernels(const Program& program, const Notes& notes);

[[nodiscard]] std::unique_ptr<Executable> make_executable(Program program, Notes notes, Model& model, const MemoryPlan& plan,
                                                          MemoryResource& memory);

}  // namespace elek::backends::cpu
