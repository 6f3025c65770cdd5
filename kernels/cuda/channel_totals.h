// SPDX-License-Identifier: Apache-2.0
// ChannelTotals: where the sums of one watched value add up on the device, in double and int64. A plain view of a raw block
// that somebody else owns (the session's statistics slab). The layout is the same on host and device: build the initial block
// on the host (reset_host), upload it, and after the run download it and lay_out() the copy to read it. Definitions as
// docs/statistics.md has them. Tests: tests/gpu/kernels/epilogue_test.cpp
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

  /// Bytes of the block: every array rounded up to 128 bytes. The block is to be aligned to 8 at least.
  [[nodiscard]] static size_t bytes(int64_t channels, uint32_t sets);
  /// Points the arrays into `block` (host or device memory; not touched). ContractError: channels < 1, null block.
  [[nodiscard]] static ChannelTotals lay_out(void* block, int64_t channels, uint32_t sets, float threshold);
  /// Writes the state "nothing seen" (zeros, maxima -infinity); only for a block in host memory.
  void reset_host() const;
};

}  // namespace elek::kernels::cuda
