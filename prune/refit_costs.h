// SPDX-License-Identifier: Apache-2.0
// The metric `refit`: the error that remains if a channel is removed and all its readers are refitted. It needs the second
// moments of every reader's input in the dense network, over the calibration images. They give the error of every refit,
// because the dense network's weights are its fit. Backward elimination (prune/elimination.h) gives the order in which a
// group's channels are removed.
// Tests: tests/prune/refit_costs_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/graph.h"
#include "elek/session.h"
#include "prune/groups.h"
#include "prune/refit.h"

namespace elek {

/// scores[g][c]: the cost of removing channel c of group g and all channels removed before it. So costs grow in the order of
/// removal. A cost is a sum over the group's readers: squared error of the reader's outputs (after its batch norm's scale,
/// least squares, ridge included) / variance of those outputs * share of the residual sum's variance that comes through the
/// reader's branch (1 outside of branches). It is a mean over images and positions.
/// Empty for groups that are not prunable. Depthwise readers cost nothing, because their outputs are removed with the channel.
/// Memory: the moments of all readers of the groups that are open at the same time, see plan_refit_costs(). `options`,
/// `progress` and errors as in refit().
[[nodiscard]] std::vector<std::vector<double>> refit_costs(const Model& model, const std::vector<Group>& groups,
                                                           BatchSource& calibration, const SessionOptions& options,
                                                           const Progress& progress, const RefitOptions& how = {});

/// The work and memory of refit_costs(). Plain data, so that it can be printed before the work starts.
struct RefitCostsPlan {
  int64_t layers = 0;           // readers; each needs one pass over the images
  size_t moments_bytes = 0;     // largest, beside a session and the kept activations
  KeptValues kept;              // of the network's activations
  double macs_an_image = 0;     // of all passes and products, per image
  double elimination_macs = 0;  // once, for any number of images
  double dense_passes = 0;      // all work, in passes of the network over the images; the elimination is a rough guess
};
[[nodiscard]] RefitCostsPlan plan_refit_costs(const Graph& graph, const std::vector<Group>& groups, int threads,
                                              int64_t samples, size_t checkpoint_bytes);

}  // namespace elek
