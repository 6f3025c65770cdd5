// SPDX-License-Identifier: Apache-2.0
// SumArrays: the arrays in which kernels add up the per-channel sums of one value: one set of arrays per thread on the CPU, one
// set on a GPU. Plain pointers into a block that it does not own. Fields and their order follow core/sums.h.
// Must not know about threads, layouts of activations or devices.
// Tests: tests/kernels/sum_arrays_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/sums.h"

namespace elek::kernels {

/// One array per sum, [channels]; null if its set was not asked for. Kernels add to sums and counts, and take maxima (NaN
/// wins).
struct SumArrays {
  int64_t* nonfinite = nullptr;  // count of NaN and infinite y per channel; always present
#define ELEK_POINTER(name, set, type, combine) type* name = nullptr;
  ELEK_SUMS(ELEK_POINTER)
#undef ELEK_POINTER
};

/// Calls f(row, a.name, …) for each array: nonfinite, then those of the table.
template <typename F, typename... Structs>
void for_each_array(const F& f, Structs&&... structs) {
  f(SumRow{"nonfinite", 0, Combine::kAdd}, structs.nonfinite...);
  for_each_sum(f, structs...);
}

/// ContractError unless channels >= 1 and all bits of `sets` are known. The message begins with `who`.
void check_sums(const char* who, int64_t channels, uint32_t sets);

/// Bytes of the arrays of these sets, each rounded up to a multiple of `alignment` bytes.
[[nodiscard]] size_t sum_arrays_bytes(int64_t channels, uint32_t sets, size_t alignment);

/// Returns pointers into `block` for the arrays of `sets`, in the table's order. Reads and writes nothing: block may be device
/// memory.
[[nodiscard]] SumArrays lay_out_sums(void* block, int64_t channels, uint32_t sets, size_t alignment);

/// Sets sums and counts to 0 and maxima to -infinity, in the arrays that are not null. This function and those below need host
/// memory.
void reset_sums(const SumArrays& arrays, int64_t channels);

/// Merges `from` into `to`: adds sums and counts, takes maxima. Arrays that are null in `to` are skipped.
/// Errors  ContractError: an array of `to` is null in `from`
void combine_sums(const SumArrays& to, const SumArrays& from, int64_t channels);

/// Keeps the arrays of `sets` and sets the others to null. `nonfinite` belongs to no set: kCount keeps it.
enum class Nonfinite : uint8_t { kLeave, kCount };
[[nodiscard]] SumArrays only_sets(SumArrays arrays, uint32_t sets, Nonfinite nonfinite);

/// The arrays from channel `channel` on.
[[nodiscard]] inline SumArrays at_channel(SumArrays arrays, int64_t channel) {
  for_each_array([channel](const SumRow&, auto*& array) { array = array == nullptr ? nullptr : array + channel; }, arrays);
  return arrays;
}

}  // namespace elek::kernels
