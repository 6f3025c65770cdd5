// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/channel_sums.h"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>

#include "core/error.h"

namespace elek::kernels::cpu {
namespace {

constexpr uint32_t kKnown = kActivity | kMoments | kAbsolute | kRange | kPerSample;
constexpr double kLowest = -std::numeric_limits<double>::infinity();

/// Every array of SumArrays with the set that asks for it: the one table that size, layout, reset and reduce share.
template <typename F>
void for_each_array(F&& f) {
  f(&SumArrays::nonfinite, uint32_t{0}, false);
  f(&SumArrays::sum, uint32_t{kActivity}, false);
  f(&SumArrays::sum_sq, uint32_t{kActivity}, false);
  f(&SumArrays::active, uint32_t{kActivity}, false);
  f(&SumArrays::z_sum, uint32_t{kMoments}, false);
  f(&SumArrays::z_sum_sq, uint32_t{kMoments}, false);
  f(&SumArrays::abs_sum, uint32_t{kAbsolute}, false);
  f(&SumArrays::max, uint32_t{kRange}, true);
  f(&SumArrays::fired, uint32_t{kPerSample}, false);
  f(&SumArrays::mean_peak, uint32_t{kPerSample}, true);
  f(&SumArrays::mean_sum, uint32_t{kPerSample}, false);
  f(&SumArrays::mean_sum_sq, uint32_t{kPerSample}, false);
}

size_t round_up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }
size_t array_bytes(int64_t channels_padded) { return round_up(static_cast<size_t>(channels_padded) * sizeof(double), 64); }

size_t thread_bytes(int64_t channels_padded, uint32_t sums) {
  size_t arrays = 0;
  for_each_array([&](auto, uint32_t set, bool) { arrays += (sums & set) == set ? 1 : 0; });
  return round_up(arrays * array_bytes(channels_padded), ChannelSums::kAlignment);
}

void check(int64_t channels_padded, uint32_t sums, int threads) {
  ELEK_CHECK(channels_padded >= 1 && threads >= 1, "channel sums: channels_padded=" + std::to_string(channels_padded) +
                                                       " threads=" + std::to_string(threads) + ", expected both >= 1");
  ELEK_CHECK((sums & ~kKnown) == 0, "channel sums: unknown bits in the set " + std::to_string(sums));
}

double larger(double a, double b) { return b > a || b != b ? b : a; }  // a NaN wins and stays

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
  std::byte* at = block + static_cast<size_t>(thread) * thread_bytes(channels_padded, sums);
  SumArrays arrays;
  for_each_array([&](auto member, uint32_t set, bool) {
    if ((sums & set) != set) return;
    arrays.*member = reinterpret_cast<std::remove_reference_t<decltype(arrays.*member)>>(at);
    at += array_bytes(channels_padded);
  });
  return arrays;
}

void ChannelSums::reset() const noexcept {
  const auto lanes = static_cast<size_t>(channels_padded);
  for (int t = 0; t < threads; ++t) {
    const SumArrays arrays = of_thread(t);
    for_each_array([&](auto member, uint32_t, bool is_max) {
      auto* array = arrays.*member;
      using T = std::remove_pointer_t<decltype(array)>;
      if (array == nullptr) return;
      std::fill_n(array, lanes, T{0});
      if constexpr (std::is_same_v<T, double>) {
        if (is_max) std::fill_n(array, lanes, kLowest);
      }
    });
  }
}

void ChannelSums::reduce(const SumArrays& out) const {
  for_each_array([&](auto member, uint32_t set, bool) {
    ELEK_CHECK(out.*member == nullptr || (sums & set) == set,
               "channel sums: a result is wanted of set " + std::to_string(set) + ", laid out are " + std::to_string(sums));
  });
  for (int t = 0; t < threads; ++t) {
    const SumArrays from = of_thread(t);
    for_each_array([&](auto member, uint32_t, bool is_max) {
      const auto* source = from.*member;
      auto* target = out.*member;
      using T = std::remove_pointer_t<decltype(target)>;
      if (target == nullptr) return;
      for (int64_t c = 0; c < channels; ++c) {
        if (t == 0) {
          target[c] = source[c];
        } else if (is_max) {
          target[c] = static_cast<T>(larger(static_cast<double>(target[c]), static_cast<double>(source[c])));
        } else {
          target[c] += source[c];
        }
      }
    });
  }
}

}  // namespace elek::kernels::cpu
