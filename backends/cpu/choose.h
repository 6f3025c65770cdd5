// SPDX-License-Identifier: Apache-2.0
// Which algorithm a convolution gets: by a rule over its shape, or by what was timed on this machine. Pure: nothing is timed,
// read or made here. Tests: tests/backends/choose_test.cpp, tests/backends/kernel_times_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "backends/cpu/conv_kernel.h"
#include "elek/options.h"

namespace elek::backends::cpu {

/// A convolution as the choice sees it: the problem of a whole micro-batch, and what else its time depends on.
struct ConvCase {
  ConvProblem problem;
  int threads = 1;
  bool residual = false;
  Activation activation{};
  uint32_t sums = 0;        // Sums that are watched
  bool tap_norms = false;   // the norms of its input's columns are watched
  uint64_t parameters = 0;  // of the whole network: what passes through the caches between two runs of this layer
};

/// Whether the algorithm may compute it: it fits, and a batch norm that is kept apart, or an activation that is no clamp, is
/// left to the pass after oneDNN.
[[nodiscard]] bool may_run(ConvAlgorithm algorithm, const ConvCase& conv, const LowerOptions& options);
/// The rule. It looks at the shape alone, so that a network runs the same kernels every time it is loaded.
[[nodiscard]] ConvAlgorithm usual_algorithm(const ConvCase& conv, const LowerOptions& options);
/// Whether times may decide: not where exactness or one algorithm was asked for, nor where values are looked at.
[[nodiscard]] bool times_may_decide(const ConvCase& conv, const LowerOptions& options);
/// Names everything that a kernel's time depends on: `machine`, problem, epilogue, and how much else passes through the caches
/// between two runs of it (the parameters' bytes, in steps of four).
[[nodiscard]] std::string times_key(const std::string& machine, const ConvCase& conv);

}  // namespace elek::backends::cpu
