// SPDX-License-Identifier: Apache-2.0
// What follows from the list of sums (ELEK_SUMS in elek/statistics.h) for code that treats all of them alike: layout in memory,
// reset, merging, files, reports. Must not know about models, files or devices. Tests: tests/unit/sums_test.cpp
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "core/host_device.h"
#include "elek/statistics.h"

namespace elek {

/// A line of the table, without its element type.
struct SumRow {
  std::string_view name;
  uint32_t set = 0;  // one of Sums; 0 = always taken
  Combine combine = Combine::kAdd;
};

/// f(row, a.name, b.name, …) for every sum, in the table's order: the field of that name of each of `structs`.
template <typename F, typename... Structs>
void for_each_sum(const F& f, Structs&&... structs) {
#define ELEK_VISIT(name, set, type, combine) f(SumRow{#name, set, Combine::combine}, structs.name...);
  ELEK_SUMS(ELEK_VISIT)
#undef ELEK_VISIT
}

/// Every set that the table knows.
inline constexpr uint32_t kKnownSums = 0
#define ELEK_SET(name, set, type, combine) | (set)
    ELEK_SUMS(ELEK_SET)
#undef ELEK_SET
    ;

/// Which line of the table `name` is, from 0; -1 = none.
constexpr int sum_index(std::string_view name) {
  int index = 0;
#define ELEK_COMPARE(sum, set, type, combine) \
  if (name == #sum) return index;             \
  ++index;
  ELEK_SUMS(ELEK_COMPARE)
#undef ELEK_COMPARE
  return -1;
}

/// The larger of two; a NaN on either side wins, where std::max and fmax may lose it.
template <typename T>
ELEK_HOST_DEVICE constexpr T keep_larger(T kept, T v) {
  if constexpr (std::is_floating_point_v<T>) {
    return v > kept || v != v ? v : kept;
  } else {
    return v > kept ? v : kept;
  }
}

/// Two partial results as one.
template <typename T>
ELEK_HOST_DEVICE constexpr T combined(Combine how, T a, T b) {
  return how == Combine::kMax ? keep_larger(a, b) : static_cast<T>(a + b);
}

}  // namespace elek
