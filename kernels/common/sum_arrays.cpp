// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/sum_arrays_test.cpp
#include "kernels/common/sum_arrays.h"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "core/sums.h"

namespace elek::kernels {
namespace {

/// Size of every element type of the table, so that all arrays of a block have the same size.
constexpr size_t kElementBytes = 8;

bool has(uint32_t sets, const SumRow& row) { return (sets & row.set) == row.set; }

size_t array_bytes(int64_t channels, size_t alignment) {
  return (static_cast<size_t>(channels) * kElementBytes + alignment - 1) / alignment * alignment;
}

}  // namespace

void check_sums(const char* who, int64_t channels, uint32_t sets) {
  ELEK_CHECK(channels >= 1, std::string(who) + ": " + std::to_string(channels) + " channels, expected >= 1");
  ELEK_CHECK((sets & ~kKnownSums) == 0, std::string(who) + ": unknown bits in the set " + std::to_string(sets));
}

size_t sum_arrays_bytes(int64_t channels, uint32_t sets, size_t alignment) {
  size_t arrays = 0;
  for_each_array([&](const SumRow& row, const auto* /*array*/) { arrays += has(sets, row) ? 1 : 0; }, SumArrays());
  return arrays * array_bytes(channels, alignment);
}

SumArrays lay_out_sums(void* block, int64_t channels, uint32_t sets, size_t alignment) {
  auto* at = static_cast<std::byte*>(block);
  SumArrays arrays;
  for_each_array(
      [&]<typename T>(const SumRow& row, T*& array) {
        static_assert(sizeof(T) == kElementBytes);
        if (!has(sets, row)) return;
        array = reinterpret_cast<T*>(at);
        at += array_bytes(channels, alignment);
      },
      arrays);
  return arrays;
}

void reset_sums(const SumArrays& arrays, int64_t channels) {
  for_each_array(
      [&]<typename T>(const SumRow& row, T* array) {
        if (array == nullptr) return;
        T nothing{0};
        if constexpr (std::is_floating_point_v<T>) {
          if (row.combine == Combine::kMax) nothing = -std::numeric_limits<T>::infinity();
        }
        std::fill_n(array, channels, nothing);
      },
      arrays);
}

void combine_sums(const SumArrays& to, const SumArrays& from, int64_t channels) {
  for_each_array(
      [&](const SumRow& row, auto* mine, const auto* theirs) {
        if (mine == nullptr) return;
        ELEK_CHECK(theirs != nullptr, "sums: '" + std::string(row.name) + "' is wanted, and was not taken");
        for (int64_t c = 0; c < channels; ++c) mine[c] = combined(row.combine, mine[c], theirs[c]);
      },
      to, from);
}

SumArrays only_sets(SumArrays arrays, uint32_t sets, Nonfinite nonfinite) {
  for_each_sum(
      [sets](const SumRow& row, auto*& array) {
        if (!has(sets, row)) array = nullptr;
      },
      arrays);
  if (nonfinite == Nonfinite::kLeave) arrays.nonfinite = nullptr;
  return arrays;
}

}  // namespace elek::kernels
