// SPDX-License-Identifier: Apache-2.0
// What the CPU backend records about a step, besides what every backend does: the kernel, and what the epilogue does.
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
  std::optional<ConvKernel> kernel;  // made after everything below is decided
  std::string times_key;             // of a convolution for which times may decide; else empty
  bool timed = false;                // there are times under that key, and they decided
  bool kernel_finishes = false;      // the kernel does the whole epilogue
  std::optional<IntegerGrid> grid;   // of a quantised convolution, if its result is rounded
  // If the kernel does not do the epilogue:
  bool epilogue = false;        // our pass does it; else oneDNN's post-ops do residual and ReLU
  bool sum_in_place = false;    // the kernel adds to the residual, which has the output's storage
  bool z_in_workspace = false;  // z must not overwrite the residual, or must not be rounded before the epilogue
  size_t z_offset = 0;          // in the workspace, after the kernel's own scratch
  size_t moments_offset = 0;    // likewise, for batch_moments
};

/// What lowering decided besides the program.
struct Notes : CommonNotes {
  int threads = 1;
  Layout layout = Layout::kNchw;  // of activations
  std::vector<Step> steps;
};

[[nodiscard]] inline int64_t lanes_of(const ProgramTensor& tensor) {
  return padded_channels(tensor.layout, tensor.shape.channels);
}

/// `kernels` as statistics files record it: library, layout, and a hash of slices and kernel names.
[[nodiscard]] std::string describe_kernels(const Program& program, const Notes& notes);

}  // namespace elek::backends::cpu
