// SPDX-License-Identifier: Apache-2.0
// The metric `refit`: what each channel costs once everything that reads it has been refitted without it. The second moments of
// every reader's input in the dense network, taken over the calibration images, give the error of every refit (the dense
// network's own weights are its fit), and backward elimination (prune/elimination.h) the order in which a group's channels go.
// Tests: tests/prune/refit_costs_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/graph.h"
#include "elek/session.h"
#include "prune/groups.h"
#include "prune/refit.h"

namespace elek {

/// scores[g][c]: cost of removing channel c of group g and all that went before it, so that costs grow in the order of going:
/// the sum over the group's readers of (squared error of the reader's outputs after its batch norm's scale, least squares,
/// ridge included) / (variance of those outputs) * (share of the residual sum's variance that comes through the reader's
/// branch; 1 outside of branches), averaged over images and positions. Empty for groups that are not prunable. Depthwise
/// readers cost nothing: their outputs go with the channel. Memory: the moments of all readers of the groups that are open at
/// once, see plan_refit_costs(). `options`, `progress` and errors as refit().
[[nodiscard]] std::vector<std::vector<double>> refit_costs(const Model& model, const std::vector<Group>& groups,
                                                           BatchSource& calibration, const SessionOptions& options,
                                                           const Progress& progress, const RefitOptions& how = {});

/// What refit_costs() will hold and do; plain data, so that it can be told before it starts.
struct RefitCostsPlan {
  int64_t layers = 0;           // readers: a pass over the images each
  size_t moments_bytes = 0;     // most at once, beside a session and what is kept
  KeptValues kept;              // of the network's activations
  double macs_an_image = 0;     // of all passes and products
  double elimination_macs = 0;  // once, whatever the images
  double dense_passes = 0;      // all of it, in passes of the network over the images; of the elimination a rough guess
};
[[nodiscard]] RefitCostsPlan plan_refit_costs(const Graph& graph, const std::vector<Group>& groups, int threads,
                                              int64_t samples, size_t checkpoint_bytes);

}  // namespace elek
