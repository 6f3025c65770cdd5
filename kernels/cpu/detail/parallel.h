// SPDX-License-Identifier: Apache-2.0
// How kernels split work over OpenMP threads: always into a fixed number of parts, each with its own accumulators. So results
// depend on the number of threads asked for, not on how many the runtime gave.
// Tests: through the kernels (1 and 2 threads give equal counts, and the same bits when repeated).
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace elek::kernels::cpu {

/// To wake the team costs a few microseconds, so no part gets less work than this.
inline constexpr int64_t kElementsAPart = 4096;

/// Parts for a job of `elements`: `threads` (0 = omp_get_max_threads()), at most `most`, at least 1.
inline int parts_for(int64_t elements, int threads, int most) noexcept {
  const int asked = threads > 0 ? threads : omp_get_max_threads();
  return static_cast<int>(std::clamp<int64_t>(elements / kElementsAPart, 1, std::clamp(asked, 1, std::max(most, 1))));
}

/// Where part `part` of `parts` begins in 0 … total, rounded down to a multiple of `grain` (the end of the last part is total).
inline int64_t part_begin(int64_t total, int parts, int part, int64_t grain) noexcept {
  if (part >= parts) return total;
  const int64_t begin = total / parts * part + total % parts * part / parts;
  return begin - begin % grain;
}

/// f(0) … f(parts - 1), once each. `f` must not throw.
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
