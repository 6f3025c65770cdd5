// SPDX-License-Identifier: Apache-2.0
// SumArrays: the arrays in which kernels add up the per-channel sums of one value, on the CPU (one set of arrays a thread) and
// on the device (one set). Plain pointers into a block that somebody else owns; fields and order follow core/sums.h.
// Must not know about threads, layouts of activations or devices.
// Tests: tests/kernels/sum_arrays_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/sums.h"

namespace elek::kernels {

/// One array a sum, [channels]; null where its set was not asked for. Values are added to, maxima taken (NaN wins).
struct SumArrays {
  int64_t* nonfinite = nullptr;  // NaN and infinite y of every channel: always there
#define ELEK_POINTER(name, set, type, combine) type* name = nullptr;
  ELEK_SUMS(ELEK_POINTER)
#undef ELEK_POINTER
};

/// f(row, a.name, …) for every array: nonfinite, then the table.
template <typename F, typename... Structs>
void for_each_array(const F& f, Structs&&... structs) {
  f(SumRow{"nonfinite", 0, Combine::kAdd}, structs.nonfinite...);
  for_each_sum(f, structs...);
}

/// ContractError unless channels >= 1 and `sets` are known ones; `who` begins the message.
void check_sums(const char* who, int64_t channels, uint32_t sets);

/// Bytes of the arrays of these sets, each rounded up to a multiple of `alignment` bytes.
[[nodiscard]] size_t sum_arrays_bytes(int64_t channels, uint32_t sets, size_t alignment);

/// Points into `block`, in the table's order, sets not asked for left out. Touches nothing: block may be device memory.
[[nodiscard]] SumArrays lay_out_sums(void* block, int64_t channels, uint32_t sets, size_t alignment);

/// "Nothing seen": sums and counts 0, maxima -infinity, in the arrays that are there. Host memory only, as what follows.
void reset_sums(const SumArrays& arrays, int64_t channels);

/// Takes `from` into `to`: adds sums and counts, compares maxima. Arrays that `to` lacks are skipped.
/// Errors  ContractError: `to` has an array that `from` lacks
void combine_sums(const SumArrays& to, const SumArrays& from, int64_t channels);

/// Of the arrays those of `sets`, the others null. `nonfinite` belongs to no set: it stays with kCount.
enum class Nonfinite : uint8_t { kLeave, kCount };
[[nodiscard]] SumArrays only_sets(SumArrays arrays, uint32_t sets, Nonfinite nonfinite);

/// The arrays from channel `channel` on.
[[nodiscard]] inline SumArrays at_channel(SumArrays arrays, int64_t channel) {
  for_each_array([channel](const SumRow&, auto*& array) { array = array == nullptr ? nullptr : array + channel; }, arrays);
  return arrays;
}

}  // namespace elek::kernels
