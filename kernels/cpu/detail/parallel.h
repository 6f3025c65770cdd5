// SPDX-License-Identifier: Apache-2.0
// How kernels divide work: into a fixed number of parts, each with its own accumulators. So results depend on the number of
// threads asked for, not on how many threads run the parts (core/threads.h).
// Tests: those of the kernels (1 and 2 threads give equal counts, and repeated runs the same bits).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/threads.h"

namespace elek::kernels::cpu {

/// Least elements per part: handing out a part costs about a microsecond.
inline constexpr int64_t kElementsAPart = 4096;

/// Number of parts for `elements`: `threads` (0 = default_threads()), at most `most`, at least 1; fewer if the job is small.
inline int parts_for(int64_t elements, int threads, int most) noexcept {
  const int asked = threads > 0 ? threads : default_threads();
  return static_cast<int>(std::clamp<int64_t>(elements / kElementsAPart, 1, std::clamp(asked, 1, std::max(most, 1))));
}

/// Where part `part` of `parts` begins in 0 … total, rounded down to a multiple of `grain`. If part == parts: `total`.
inline int64_t part_begin(int64_t total, int parts, int part, int64_t grain) noexcept {
  if (part >= parts) return total;
  const int64_t begin = total / parts * part + total % parts * part / parts;
  return begin - begin % grain;
}

[[nodiscard]] inline int64_t ceil_div(int64_t a, int64_t b) noexcept { return (a + b - 1) / b; }

/// Whether the threads of a convolution divide its output channels (`groups` pieces) instead of its pixels (`pieces`). If they
/// divide the pixels, each thread reads all weights and its own pixels. If they divide the outputs, each reads all pixels and
/// its own weights. The one that reads less wins. If one of them gives uneven pieces, the more even one wins.
[[nodiscard]] inline bool divides_outputs(int64_t pieces, int64_t groups, int64_t threads, int64_t pixel_bytes,
                                          size_t weight_bytes) noexcept {
  // The share of the threads' time that is used if `count` equal pieces are divided among them.
  const auto balance = [threads](int64_t count) {
    return static_cast<double>(count) / static_cast<double>(ceil_div(count, threads) * threads);
  };
  const double by_pixels = balance(pieces), by_outputs = balance(groups);
  constexpr double kUneven = 0.9;
  if (by_pixels < kUneven || by_outputs < kUneven) return by_outputs > by_pixels;
  return static_cast<int64_t>(weight_bytes) > pixel_bytes;
}

/// Calls f(0) … f(count - 1): neighbouring ones in one of `threads` parts. `f` must not throw.
template <typename F>
void for_ranges(int64_t count, int threads, const F& f) {
  for_parts(threads, [&](int part) {
    for (int64_t i = part_begin(count, threads, part, 1); i < part_begin(count, threads, part + 1, 1); ++i) f(i);
  });
}

}  // namespace elek::kernels::cpu
