// SPDX-License-Identifier: Apache-2.0
// Loops that measure the machine's limits: multiply-adds, copies, reads, and passing a cache line between two cores. A roofline
// uses the first three. The caller measures the time.
// Tests: tests/kernels/peaks_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

namespace elek::kernels::cpu {

/// Runs `steps` rounds of independent f32 multiply-adds in registers on each of `threads` threads.
/// Returns the number of operations of all threads; a multiply-add counts as two. The compiler cannot remove the loop, because
/// it does not know that the result is unused.
[[nodiscard]] double run_multiply_adds(int64_t steps, int threads);

/// Copies `bytes` bytes from src to dst with memcpy, `rounds` times. Each thread copies its own part.
/// Aliasing  src and dst do not overlap
void copy_memory(const void* src, void* dst, size_t bytes, int64_t rounds, int threads);

/// Reads `bytes` bytes, `rounds` times. Each thread reads its own part, in whole vectors; a shorter rest is not read.
void read_memory(const float* src, size_t bytes, int64_t rounds, int threads);

/// Two threads pass a cache line to each other and back, `rounds` times: each waits for what the other writes. Returns the
/// number of passes: 2 * rounds, or 0 if the system gives only one thread.
[[nodiscard]] int64_t pass_line(int64_t rounds);

}  // namespace elek::kernels::cpu
