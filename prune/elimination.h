// SPDX-License-Identifier: Apache-2.0
// Backward elimination on second moments: which channels does a refit need least? Removing the columns S of a least-squares fit
// and fitting the others again costs exactly tr(W_S' [H_SS]^-1 W_S), where H is the inverse of the moments with the ridge. The
// cheapest channel is removed, H and W are updated to the fit without it, and so on. This is the optimal brain surgeon (Hassibi
// & Stork 1992) on a quadratic that is exact, for channels instead of weights, with costs added over all readers.
// Tests: tests/prune/elimination_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "elek/memory.h"

namespace elek {

/// One reader's fit: `channels` channels, the first being `first`, with `width` neighbouring columns each. After them
/// `constants` more columns (the bias) that always stay.
struct ReaderFit {
  std::string name;  // for messages
  int64_t first = 0;
  int64_t channels = 0;
  int64_t width = 1;
  int64_t constants = 0;
  int64_t outputs = 0;
  Buffer moments;  // [n, n] doubles, j >= i: A + ridge; H replaces it
  Buffer weights;  // [n, outputs] doubles: the fit; updated after each removal
  [[nodiscard]] int64_t columns() const noexcept { return channels * width + constants; }
};

struct Elimination {
  std::vector<int64_t> order;  // channels, the first removed first
  std::vector<double> costs;   // [channel]: cost of removing it and all before it; grows along `order`
};

/// Eliminates all `channels` (O(n^3) per reader). `fits` are used up. The result does not depend on the number of threads. Of
/// equal costs the lower channel goes first. InputError naming the reader if its moments are not positive definite.
[[nodiscard]] Elimination eliminate_channels(std::span<ReaderFit> fits, int64_t channels, int threads);

}  // namespace elek
