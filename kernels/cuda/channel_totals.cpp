// SPDX-License-Identifier: Apache-2.0
// Tests: tests/gpu/kernels/epilogue_test.cpp
#include "kernels/cuda/channel_totals.h"

#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

constexpr size_t kArrayAlignment = 128;
constexpr const char* kWho = "channel totals";

}  // namespace

size_t ChannelTotals::bytes(int64_t channels, uint32_t sets) {
  check_sums(kWho, channels, sets);
  return sum_arrays_bytes(channels, sets, kArrayAlignment);
}

ChannelTotals ChannelTotals::lay_out(void* block, int64_t channels, uint32_t sets, float threshold) {
  check_sums(kWho, channels, sets);
  ELEK_CHECK(block != nullptr && reinterpret_cast<uintptr_t>(block) % 8 == 0,
             "channel totals: the block is missing or not aligned to 8");
  return {lay_out_sums(block, channels, sets, kArrayAlignment), channels, sets, threshold};
}

void ChannelTotals::reset_host() const { reset_sums(arrays, channels); }

}  // namespace elek::kernels::cuda
