// SPDX-License-Identifier: Apache-2.0
// The peaks of the machine: loops that only multiply-add, only copy, only read, or only wait for each other. The first three
// give the roofline. The caller takes the time; nothing here knows a clock.
// Tests: tests/kernels/peaks_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

namespace elek::kernels::cpu {

/// Runs `steps` rounds of independent f32 multiply-adds in registers on each of `threads` threads.
/// Returns the operations of all threads; a multiply-add counts as two. The compiler cannot remove the loop, because it cannot
/// see that nobody reads the result.
[[nodiscard]] double run_multiply_adds(int64_t steps, int threads);

/// dst = src, `bytes` of each, `rounds` times, every thread its own part; as memcpy does it on this machine.
/// Aliasing  src and dst overlap nothing
void copy_memory(const void* src, void* dst, size_t bytes, int64_t rounds, int threads);

/// Reads `bytes` bytes (what is left over of whole vectors is not read) `rounds` times, every thread its own part.
void read_memory(const float* src, size_t bytes, int64_t rounds, int threads);

/// Two threads hand a cache line to and fro, `rounds` times: what one of them has written the other waits for.
/// Returns how often it was handed over, 2 * rounds, or 0 where the runtime gives one thread only.
[[nodiscard]] int64_t pass_line(int64_t rounds);

}  // namespace elek::kernels::cpu
