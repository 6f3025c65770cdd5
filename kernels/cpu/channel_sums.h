// SPDX-License-Identifier: Apache-2.0
// ChannelSums: where the kernels of one watched value add up its per-channel sums. A plain view of a raw block that somebody
// else owns (the session's statistics slab): one set of arrays a thread, so that threads share no cache line and need no
// atomics; reduce() adds the threads in order, so the same thread count gives the same bits. Definitions and accuracy:
// docs/statistics.md. Tests: tests/kernels/channel_sums_test.cpp, tests/kernels/epilogue_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/sums.h"

namespace elek::kernels::cpu {

/// Arrays of one thread ([channels_padded]) or of a result ([channels]); null where the set was not asked for.
/// Values are added to, maxima taken; NaN wins every maximum. `nonfinite` counts NaN and infinite y of every channel, always.
struct SumArrays {
  int64_t* nonfinite = nullptr;   // always
  double* sum = nullptr;          // kActivity: sum y
  double* sum_sq = nullptr;       // kActivity: sum y^2
  int64_t* active = nullptr;      // kActivity: #{y > threshold}
  double* z_sum = nullptr;        // kMoments: sum z
  double* z_sum_sq = nullptr;     // kMoments: sum z^2
  double* abs_sum = nullptr;      // kAbsolute: sum |y|
  double* max = nullptr;          // kRange: max y; -infinity where nothing was seen
  int64_t* fired = nullptr;       // kPerSample: #{n : some y of sample n > threshold}
  double* mean_peak = nullptr;    // kPerSample: max_n m_n, m_n = spatial mean of sample n; -infinity where nothing was seen
  double* mean_sum = nullptr;     // kPerSample: sum_n m_n
  double* mean_sum_sq = nullptr;  // kPerSample: sum_n m_n^2
};

struct ChannelSums {
  static constexpr size_t kAlignment =
      128;  // of the block and of every thread's part: two cache lines, as prefetchers pair them

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
  void reset() const noexcept;

  /// Arrays that thread `thread` (0 … threads - 1) alone may write, each 64-byte aligned, [channels_padded]. Padding lanes may
  /// be written (they hold zeros or rubbish); reduce() never reads them.
  [[nodiscard]] SumArrays of_thread(int thread) const;

  /// Writes sum over threads 0, 1, … into out ([channels] each, overwritten). Null pointers in `out` are skipped.
  /// ContractError: `out` wants a set that `sums` has not.
  void reduce(const SumArrays& out) const;
};

}  // namespace elek::kernels::cpu
