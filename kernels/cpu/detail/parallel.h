// SPDX-License-Identifier: Apache-2.0
// How kernels divide work over OpenMP threads: into a fixed number of parts, each with its own accumulators. So results depend
// on the number of threads asked for, not on how many threads OpenMP gives.
// Tests: those of the kernels (1 and 2 threads give equal counts, and repeated runs the same bits).
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace elek::kernels::cpu {

/// Least elements per part: waking the threads costs a few microseconds.
inline constexpr int64_t kElementsAPart = 4096;

/// Number of parts for `elements`: `threads` (0 = omp_get_max_threads()), at most `most`, at least 1; fewer if the job is
/// small.
inline int parts_for(int64_t elements, int threads, int most) noexcept {
  const int asked = threads > 0 ? threads : omp_get_max_threads();
  return static_cast<int>(std::clamp<int64_t>(elements / kElementsAPart, 1, std::clamp(asked, 1, std::max(most, 1))));
}

/// Where part `part` of `parts` begins in 0 … total, rounded down to a multiple of `grain`. If part == parts: `total`.
inline int64_t part_begin(int64_t total, int parts, int part, int64_t grain) noexcept {
  if (part >= parts) return total;
  const int64_t begin = total / parts * part + total % parts * part / parts;
  return begin - begin % grain;
}

/// Calls f(0) … f(parts - 1), once each. `f` must not throw.
template <typename F>
void for_parts(int parts, const F& f) {
  if (parts == 1) {
    f(0);
    return;
  }
#pragma omp parallel num_threads(parts)
  for (int part = omp_get_thread_num(); part < parts; part += omp_get_num_threads()) f(part);
}

}  // namespace elek::kernels::cpu
