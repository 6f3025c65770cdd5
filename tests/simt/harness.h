// SPDX-License-Identifier: Apache-2.0
// The SIMT harness runs a grid of CUDA threads on one host thread; each CUDA thread is a fibre with its own stack. A fibre runs
// until it waits (a barrier, a warp operation) or ends. A seeded generator chooses the next ready fibre and the next block, so
// code that only works in one order fails sooner or later. Shared memory starts as NaN in every block.
// It finds a missing barrier (wrong values), threads that never reach a barrier or wait at different ones, warp operations that
// a named lane does not join, misaligned vectors, and grids beyond the limits; under AddressSanitizer also every access outside
// a buffer. It cannot find errors that need truly parallel execution (a race between two waits that no order shows), and it
// says nothing about speed or about the code that the GPU's compiler makes.
// Tests: tests/simt/harness_test.cpp, tests/simt/planted_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace elek::simt {

/// The running kernel broke a rule of the programming model. Device memory keeps its state at that point.
class SimtError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Restarts the order of threads and blocks.
void set_seed(uint64_t seed);

/// Number of blocks run since the process started, so that tests can check that something ran.
[[nodiscard]] int64_t blocks_run();

}  // namespace elek::simt
