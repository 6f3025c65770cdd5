// SPDX-License-Identifier: Apache-2.0
// Functions over the list of sums (ELEK_SUMS in elek/statistics.h), for code that treats all sums alike: layout in memory,
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

/// Calls f(row, a.name, b.name, …) for each sum, in the table's order, with the field of that name of each of `structs`.
template <typename F, typename... Structs>
void for_each_sum(const F& f, Structs&&... structs) {
#define ELEK_VISIT(name, set, type, combine) f(SumRow{#name, set, Combine::combine}, structs.name...);
  ELEK_SUMS(ELEK_VISIT)
#undef ELEK_VISIT
}

/// All sets of the table.
inline constexpr uint32_t kKnownSums = 0
#define ELEK_SET(name, set, type, combine) | (set)
    ELEK_SUMS(ELEK_SET)
#undef ELEK_SET
    ;

/// The line of `name` in the table, from 0; -1 = not in the table.
constexpr int sum_index(std::string_view name) {
  int index = 0;
#define ELEK_COMPARE(sum, set, type, combine) \
  if (name == #sum) return index;             \
  ++index;
  ELEK_SUMS(ELEK_COMPARE)
#undef ELEK_COMPARE
  return -1;
}

/// The larger of two values. NaN wins on either side; std::max and fmax may lose it.
template <typename T>
ELEK_HOST_DEVICE constexpr T keep_larger(T kept, T v) {
  if constexpr (std::is_floating_point_v<T>) {
    return v > kept || v != v ? v : kept;
  } else {
    return v > kept ? v : kept;
  }
}

/// Combines two partial results.
template <typename T>
ELEK_HOST_DEVICE constexpr T combined(Combine how, T a, T b) {
  return how == Combine::kMax ? keep_larger(a, b) : static_cast<T>(a + b);
}

}  // namespace elek
