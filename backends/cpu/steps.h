// SPDX-License-Identifier: Apache-2.0
// What the CPU backend notes down about each step beside what every backend does: which kernel, and what the epilogue does.
// Tests: tests/golden/session_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backends/cpu/conv_kernel.h"
#include "backends/host_staging.h"
#include "backends/steps.h"

namespace elek::backends::cpu {

struct Step : CommonStep {
  // Convolution and linear.
  ConvAlgorithm algorithm = ConvAlgorithm::kLibrary;
  std::optional<ConvKernel> kernel;  // made when everything below is decided
  std::string times_key;             // of a convolution whose algorithm times may decide; else empty
  bool timed = false;                // times are known under that key, and decided
  // Where the kernel does not do the epilogue:
  bool epilogue = false;        // our pass after it does; else oneDNN's post-ops do residual and ReLU
  bool sum_in_place = false;    // oneDNN adds onto the residual, whose storage is the output's
  bool z_in_workspace = false;  // z may not be written over the residual, or be rounded before its epilogue
  size_t z_offset = 0;          // in the workspace, after the kernel's own scratch
  size_t moments_offset = 0;    // likewise, of batch_moments
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

}  // namespace elek::backends::cpu
