// SPDX-License-Identifier: Apache-2.0
// ChannelTotals: where the sums of one watched value add up on the device, in double and int64. A plain view of a raw block
// that somebody else owns (the session's statistics slab). The layout is the same on host and device: build the initial block
// on the host (reset_host), upload it, and after the run download it and lay_out() the copy to read it. Definitions as
// docs/statistics.md has them. Tests: tests/gpu/kernels/epilogue_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/sums.h"

namespace elek::kernels::cuda {

/// Arrays of [channels]; null where the set was not asked for. Values are added to, maxima taken; NaN wins every maximum.
struct TotalArrays {
  int64_t* nonfinite = nullptr;   // always: NaN and infinite y, by channel
  double* sum = nullptr;          // kActivity: sum y
  double* sum_sq = nullptr;       // kActivity: sum y^2
  int64_t* active = nullptr;      // kActivity: #{y > threshold}
  double* z_sum = nullptr;        // kMoments: sum z
  double* z_sum_sq = nullptr;     // kMoments: sum z^2
  double* abs_sum = nullptr;      // kAbsolute: sum |y|
  double* max = nullptr;          // kRange: max y; -infinity where nothing was seen
  int64_t* fired = nullptr;       // kPerSample: #{n : some y of sample n > threshold}
  double* mean_peak = nullptr;    // kPerSample: max_n m_n; -infinity where nothing was seen
  double* mean_sum = nullptr;     // kPerSample: sum_n m_n
  double* mean_sum_sq = nullptr;  // kPerSample: sum_n m_n^2
};

struct ChannelTotals {
  TotalArrays arrays;
  int64_t channels = 0;
  uint32_t sets = 0;  // Sums, combined
  float threshold = 0.0F;

  /// Bytes of the block: every array rounded up to 128 bytes. The block is to be aligned to 8 at least.
  [[nodiscard]] static size_t bytes(int64_t channels, uint32_t sets);
  /// Points the arrays into `block` (host or device memory; not touched). ContractError: channels < 1, null block.
  [[nodiscard]] static ChannelTotals lay_out(void* block, int64_t channels, uint32_t sets, float threshold);
  /// Writes the state "nothing seen" (zeros, maxima -infinity); only for a block in host memory.
  void reset_host() const;
};

}  // namespace elek::kernels::cuda
