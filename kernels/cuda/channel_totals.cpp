// SPDX-License-Identifier: Apache-2.0
// See channel_totals.h. Order of the arrays in the block: as TotalArrays lists them, those not asked for left out.
#include "kernels/cuda/channel_totals.h"

#include <algorithm>
#include <limits>
#include <string>

#include "core/error.h"

namespace elek::kernels::cuda {
namespace {

constexpr size_t kRound = 128;

size_t array_bytes(int64_t channels) { return (static_cast<size_t>(channels) * 8 + kRound - 1) / kRound * kRound; }

int64_t array_count(uint32_t sets) {
  int64_t arrays = 1;
  for (const auto& [set, count] : {std::pair{kActivity, 3}, {kMoments, 2}, {kAbsolute, 1}, {kRange, 1}, {kPerSample, 4}}) {
    arrays += (sets & set) != 0 ? count : 0;
  }
  return arrays;
}

void check(int64_t channels, uint32_t sets) {
  constexpr uint32_t kKnown = kActivity | kMoments | kAbsolute | kRange | kPerSample;
  ELEK_CHECK(channels >= 1 && (sets & ~kKnown) == 0, "channel totals: " + std::to_string(channels) + " channels, sets " +
                                                         std::to_string(sets) + ", expected >= 1 and known sets");
}

}  // namespace

size_t ChannelTotals::bytes(int64_t channels, uint32_t sets) {
  check(channels, sets);
  return array_bytes(channels) * static_cast<size_t>(array_count(sets));
}

ChannelTotals ChannelTotals::lay_out(void* block, int64_t channels, uint32_t sets, float threshold) {
  check(channels, sets);
  ELEK_CHECK(block != nullptr && reinterpret_cast<uintptr_t>(block) % 8 == 0,
             "channel totals: the block is missing or not aligned to 8");
  ChannelTotals totals;
  totals.channels = channels;
  totals.sets = sets;
  totals.threshold = threshold;
  auto* at = static_cast<std::byte*>(block);
  const auto take = [&](uint32_t set, auto*&... arrays) {
    if ((sets & set) != set) return;
    ((arrays = reinterpret_cast<std::remove_reference_t<decltype(arrays)>>(at), at += array_bytes(channels)), ...);
  };
  TotalArrays& a = totals.arrays;
  take(0, a.nonfinite);
  take(kActivity, a.sum, a.sum_sq, a.active);
  take(kMoments, a.z_sum, a.z_sum_sq);
  take(kAbsolute, a.abs_sum);
  take(kRange, a.max);
  take(kPerSample, a.fired, a.mean_peak, a.mean_sum, a.mean_sum_sq);
  return totals;
}

void ChannelTotals::reset_host() const {
  constexpr double kLowest = -std::numeric_limits<double>::infinity();
  const auto fill = [&](auto* array, auto value) {
    if (array != nullptr) std::fill_n(array, channels, value);
  };
  for (int64_t* array : {arrays.nonfinite, arrays.active, arrays.fired}) fill(array, int64_t{0});
  for (double* array :
       {arrays.sum, arrays.sum_sq, arrays.z_sum, arrays.z_sum_sq, arrays.abs_sum, arrays.mean_sum, arrays.mean_sum_sq}) {
    fill(array, 0.0);
  }
  for (double* array : {arrays.max, arrays.mean_peak}) fill(array, kLowest);
}

}  // namespace elek::kernels::cuda
