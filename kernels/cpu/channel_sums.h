// SPDX-License-Identifier: Apache-2.0
// ChannelSums: the arrays in which kernels add up the per-channel sums of one watched value. It is a view of memory that it
// does not own (the session's statistics slab). Each thread has its own arrays, so threads share no cache line and need no
// atomics. reduce() adds the threads in order, so the same number of threads gives the same bits. Definitions and accuracy:
// docs/statistics.md. Tests: tests/kernels/channel_sums_test.cpp, tests/kernels/epilogue_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/sum_arrays.h"

namespace elek::kernels::cpu {

struct ChannelSums {
  // Alignment of the block and of each thread's part: two cache lines, because prefetchers load them in pairs.
  static constexpr size_t kAlignment = 128;

  std::byte* block = nullptr;
  int64_t channels = 0;
  int64_t channels_padded = 0;  // lanes in each array: rounded up to the layout's block (NCHW: = channels)
  uint32_t sums = 0;            // Sums, combined
  float threshold = 0.0F;
  int threads = 1;

  /// Bytes of a block for these sums. ContractError: channels_padded or threads < 1, or unknown bits in `sums`.
  [[nodiscard]] static size_t bytes(int64_t channels_padded, uint32_t sums, int threads);

  /// A view of `raw`, which must have bytes(…) bytes and be aligned to kAlignment. Writes nothing: call reset() before the
  /// first use. ContractError: null or misaligned block, channels < 1 or > channels_padded.
  [[nodiscard]] static ChannelSums lay_out(void* raw, int64_t channels, int64_t channels_padded, uint32_t sums, float threshold,
                                           int threads);

  /// Sets sums and counts to 0 and maxima to -infinity, for all threads.
  void reset() const;

  /// The arrays that only thread `thread` (0 … threads - 1) may write: [channels_padded], 64-byte aligned. Padding lanes may be
  /// written with any values; reduce() never reads them.
  [[nodiscard]] SumArrays of_thread(int thread) const;

  /// Writes the sums over threads 0, 1, … to `out` ([channels] each, overwritten). Null pointers in `out` are skipped.
  /// ContractError: `out` has an array of a set that is not in `sums`.
  void reduce(const SumArrays& out) const;
};

}  // namespace elek::kernels::cpu
