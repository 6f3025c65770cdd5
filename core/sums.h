// SPDX-License-Identifier: Apache-2.0
// The one table of per-channel sums. What treats all sums alike follows from it: fields, layout in memory, reset, merging,
// files, reports. A new sum is one line of the table and the kernels that take it.
// Must not know about models, files or devices. Definitions and accuracy of the sums: docs/statistics.md.
// Tests: tests/unit/sums_test.cpp, tests/models/statistics_merge_test.cpp, tests/models/statistics_file_test.cpp
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>

#include "core/host_device.h"

namespace elek {

/// Sets of sums, combined with |. y = the stored value, z = the pre-activation (conv + bias, batch norm folded in).
enum Sums : uint32_t {
  kActivity = 1,
  kMoments = 2,
  kAbsolute = 4,
  kRange = 8,
  kPerSample = 16,
};
/// As a restriction to some sets: none.
inline constexpr uint32_t kAllSums = ~uint32_t{0};

/// How two partial results of one sum become one. NaN wins every maximum; before the first value it is -infinity.
enum class Combine : uint8_t { kAdd, kMax };

/// X(name, set, element type, Combine) for every sum, in the order in which they lie in memory and in files.
/// m_n = the spatial mean of y of sample n.
#define ELEK_SUMS(X)                                                                      \
  X(sum, kActivity, double, kAdd)          /* sum of y */                                 \
  X(sum_sq, kActivity, double, kAdd)       /* sum of y^2 */                               \
  X(active, kActivity, int64_t, kAdd)      /* how many y > threshold */                   \
  X(z_sum, kMoments, double, kAdd)         /* sum of z */                                 \
  X(z_sum_sq, kMoments, double, kAdd)      /* sum of z^2 */                               \
  X(abs_sum, kAbsolute, double, kAdd)      /* sum of |y| */                               \
  X(max, kRange, double, kMax)             /* maximum of y */                             \
  X(fired, kPerSample, int64_t, kAdd)      /* how many samples have some y > threshold */ \
  X(mean_peak, kPerSample, double, kMax)   /* maximum over samples of m_n */              \
  X(mean_sum, kPerSample, double, kAdd)    /* sum over samples of m_n */                  \
  X(mean_sum_sq, kPerSample, double, kAdd) /* sum over samples of m_n^2 */

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
