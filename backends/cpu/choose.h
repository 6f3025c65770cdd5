// SPDX-License-Identifier: Apache-2.0
// Chooses the algorithm of a convolution: by a rule over its shape, or by times measured on this machine. Pure functions:
// nothing is timed, read or made here. Tests: tests/backends/choose_test.cpp, tests/backends/kernel_times_test.cpp
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
  uint64_t parameters = 0;  // of the whole network: data that passes through the caches between two runs of this layer
};

/// Whether the algorithm may compute the convolution: it must fit. If batch norm is kept apart or the activation does not
/// clamp, our pass after the convolution does it. Where oneDNN has kernels, only these run before that pass.
[[nodiscard]] bool may_run(ConvAlgorithm algorithm, const ConvCase& conv, const LowerOptions& options);
/// The rule. It looks only at the shape, so a network runs the same kernels every time it is loaded.
[[nodiscard]] ConvAlgorithm usual_algorithm(const ConvCase& conv, const LowerOptions& options);
/// Whether measured times may decide: not if results must be exact, if one algorithm was asked for, or if values are kept.
[[nodiscard]] bool times_may_decide(const ConvCase& conv, const LowerOptions& options);
/// A name for everything that a kernel's time depends on: `machine`, problem, epilogue, and how much other data passes through
/// the caches between two runs of it (the number of parameters, rounded to powers of four).
[[nodiscard]] std::string times_key(const std::string& machine, const ConvCase& conv);

}  // namespace elek::backends::cpu
