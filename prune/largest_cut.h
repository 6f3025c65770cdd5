// SPDX-License-Identifier: Apache-2.0
// The largest cut that loses at most a given accuracy. It is found by bisection: each cut that is tried is made, repaired and
// measured on images that neither the choice nor the repair has seen. Reads and writes no file and prints nothing.
// Tests: tests/prune/largest_cut_test.cpp
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "core/paired.h"
#include "prune/recipe_steps.h"

namespace elek {

/// A cut that was tried.
struct TriedCut {
  double removed = 0;       // the share that was to go: of the MACs, or of the weights (CutOptions::weights); more than 0
  double left = 1;          // what is left of the dense network: the share of its MACs, or of its weights that are not zero
  Estimate lost;            // accuracy, dense minus cut, paired image by image
  bool reachable = true;    // false: so much cannot go; nothing was measured
  bool is_allowed = false;  // reachable, and lost at most what may be lost
};

struct LargestCut {
  std::vector<TriedCut> tried;  // in this order
  std::optional<size_t> best;   // the index of the largest cut that is allowed; empty: none was
};

/// `options` with the target that removes this share. A target that they had is replaced.
[[nodiscard]] CutOptions removing(const CutOptions& options, const Model& dense, double removed);

/// Tries `tries` cuts by `evidence` (gather()), each at half of what is still unknown between the largest cut allowed and the
/// smallest that was not. So the result is within 2^-tries of the largest, if larger cuts lose more. `run` gives criterion,
/// repair and memory; `run.evaluation` holds the images that judge, with labels; `measured` is the dense network's result on
/// these. `tried` is told of each cut when it is measured. ContractError if a loss below 0 is asked for.
[[nodiscard]] LargestCut find_largest_cut(const Model& dense, const Measured& measured, const Evidence& evidence,
                                          const CutRun& run, double most_lost, int tries,
                                          const std::function<void(const TriedCut&)>& tried);

}  // namespace elek
