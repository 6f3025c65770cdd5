// SPDX-License-Identifier: Apache-2.0
// ChannelSums: where the kernels of one watched value add up its per-channel sums. A plain view of a raw block that somebody
// else owns (the session's statistics slab): one set of arrays per thread, so that threads share no cache line and need no
// atomics; reduce() adds the threads in order, so the same thread count gives the same bits. Definitions and accuracy:
// docs/statistics.md. Tests: tests/kernels/channel_sums_test.cpp, tests/kernels/epilogue_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/sum_arrays.h"

namespace elek::kernels::cpu {

struct ChannelSums {
  // Of the block and of every thread's part: two cache lines, as prefetchers pair them.
  static constexpr size_t kAlignment = 128;

  std::byte* block = nullptr;
  int64_t channels = 0;
  int64_t channels_padded = 0;  // lanes in each array: rounded up to the layout's block (NCHW: = channels)
  uint32_t sums = 0;            // Sums, combined
  float threshold = 0.0F;
  int threads = 1;

  /// Bytes of a block for these sums. ContractError: channels_padded or threads < 1, or unknown bits in `sums`.
  [[nodiscard]] static size_t bytes(int64_t channels_padded, uint32_t sums, int threads);

  /// View of `raw`, at least bytes(…) bytes aligned to kAlignment. Touches nothing: call reset() before the first use.
  /// ContractError: null or misaligned block, channels < 1 or > channels_padded.
  [[nodiscard]] static ChannelSums lay_out(void* raw, int64_t channels, int64_t channels_padded, uint32_t sums, float threshold,
                                           int threads);

  /// Sums and counts to 0, maxima to -infinity, all threads.
  void reset() const;

  /// Arrays that thread `thread` (0 … threads - 1) alone may write, each 64-byte aligned, [channels_padded]. Padding lanes may
  /// be written (they hold zeros or rubbish); reduce() never reads them.
  [[nodiscard]] SumArrays of_thread(int thread) const;

  /// Writes sum over threads 0, 1, … into out ([channels] each, overwritten). Null pointers in `out` are skipped.
  /// ContractError: `out` wants a set that `sums` has not.
  void reduce(const SumArrays& out) const;
};

}  // namespace elek::kernels::cpu
