// SPDX-License-Identifier: Apache-2.0
// Which channels a refit can do without: backward elimination on the second moments of what reads them. Removing the columns S
// of a least-squares fit and refitting the others costs exactly tr(W_S' [H_SS]^-1 W_S), H the inverse of the (loaded) moments;
// the cheapest channel goes, H and W are updated to what the fit without it would give, and so on. This is the optimal brain
// surgeon (Hassibi & Stork 1992) on a quadratic that is exact, with channels for weights and costs added over all readers.
// Tests: tests/prune/elimination_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "elek/memory.h"

namespace elek {

/// One reader's fit: `channels` channels from `first` on, `width` neighbouring columns each, then `constants` more columns (the
/// bias) that always stay.
struct ReaderFit {
  std::string name;  // for messages
  int64_t first = 0;
  int64_t channels = 0;
  int64_t width = 1;
  int64_t constants = 0;
  int64_t outputs = 0;
  Buffer moments;  // [n, n] doubles, j >= i: A + lambda; becomes H
  Buffer weights;  // [n, outputs] doubles: the fit; becomes what is left of it
  [[nodiscard]] int64_t columns() const noexcept { return channels * width + constants; }
};

struct Elimination {
  std::vector<int64_t> order;  // channels, first to go first
  std::vector<double> costs;   // [channel]: of its removal and all before it; grows along `order`
};

/// Eliminates all `channels` (costs O(n^3) a reader). `fits` are used up. The same result whatever the number of threads; of
/// equal costs the lower channel goes first. InputError naming the reader whose moments are not positive definite.
[[nodiscard]] Elimination eliminate_channels(std::span<ReaderFit> fits, int64_t channels, int threads);

}  // namespace elek
