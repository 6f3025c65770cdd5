// SPDX-License-Identifier: Apache-2.0
// ChannelTotals: the arrays on the device in which the sums of one watched value are added up, in double and int64. It is a
// view of memory that it does not own (the session's statistics slab). The layout is the same on host and device. Write the
// initial block on the host (reset_host) and upload it. After the run, download it and call lay_out() on the copy to read it.
// Definitions: docs/statistics.md. Tests: tests/gpu/kernels/epilogue_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/common/sum_arrays.h"

namespace elek::kernels::cuda {

struct ChannelTotals {
  SumArrays arrays;
  int64_t channels = 0;
  uint32_t sets = 0;  // Sums, combined
  float threshold = 0.0F;

  /// Bytes of the block; each array is rounded up to 128 bytes. The block must be aligned to at least 8.
  [[nodiscard]] static size_t bytes(int64_t channels, uint32_t sets);
  /// Returns arrays inside `block` (host or device memory; nothing is read or written). ContractError: channels < 1, null
  /// block.
  [[nodiscard]] static ChannelTotals lay_out(void* block, int64_t channels, uint32_t sets, float threshold);
  /// Sets sums and counts to 0 and maxima to -infinity. Only for a block in host memory.
  void reset_host() const;
};

}  // namespace elek::kernels::cuda
