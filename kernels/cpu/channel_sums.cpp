// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/channel_sums_test.cpp
#include "kernels/cpu/channel_sums.h"

#include <string>

#include "core/error.h"

namespace elek::kernels::cpu {
namespace {

constexpr size_t kArrayAlignment = 64;  // a cache line, a vector

size_t thread_bytes(int64_t channels_padded, uint32_t sums) {
  constexpr size_t kRound = ChannelSums::kAlignment;
  return (sum_arrays_bytes(channels_padded, sums, kArrayAlignment) + kRound - 1) / kRound * kRound;
}

void check(int64_t channels_padded, uint32_t sums, int threads) {
  check_sums("channel sums", channels_padded, sums);
  ELEK_CHECK(threads >= 1, "channel sums: threads=" + std::to_string(threads) + ", expected >= 1");
}

}  // namespace

size_t ChannelSums::bytes(int64_t channels_padded, uint32_t sums, int threads) {
  check(channels_padded, sums, threads);
  return static_cast<size_t>(threads) * thread_bytes(channels_padded, sums);
}

ChannelSums ChannelSums::lay_out(void* raw, int64_t channels, int64_t channels_padded, uint32_t sums, float threshold,
                                 int threads) {
  check(channels_padded, sums, threads);
  ELEK_CHECK(channels >= 1 && channels <= channels_padded,
             "channel sums: " + std::to_string(channels) + " channels in " + std::to_string(channels_padded) + " lanes");
  ELEK_CHECK(raw != nullptr && reinterpret_cast<uintptr_t>(raw) % kAlignment == 0,
             "channel sums: the block must be there and aligned to " + std::to_string(kAlignment) + " bytes");
  return {static_cast<std::byte*>(raw), channels, channels_padded, sums, threshold, threads};
}

SumArrays ChannelSums::of_thread(int thread) const {
  ELEK_CHECK(thread >= 0 && thread < threads,
             "channel sums: thread " + std::to_string(thread) + " of " + std::to_string(threads));
  std::byte* const part = block + static_cast<size_t>(thread) * thread_bytes(channels_padded, sums);
  return lay_out_sums(part, channels_padded, sums, kArrayAlignment);
}

void ChannelSums::reset() const {
  for (int t = 0; t < threads; ++t) reset_sums(of_thread(t), channels_padded);
}

void ChannelSums::reduce(const SumArrays& out) const {
  reset_sums(out, channels);
  for (int t = 0; t < threads; ++t) combine_sums(out, of_thread(t), channels);
}

}  // namespace elek::kernels::cpu
