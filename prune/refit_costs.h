// SPDX-License-Identifier: Apache-2.0
// The metric `refit`: what each channel costs once everything that reads it has been refitted without it. The second moments of
// every reader's input in the dense network, taken over the calibration images, give the error of every refit (the dense
// network's own weights are its fit), and backward elimination (prune/elimination.h) the order in which a group's channels go.
// Tests: tests/prune/refit_costs_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "engine/evaluate.h"
#include "engine/graph/model.h"
#include "engine/session.h"
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

/// What refit_costs() holds of moments at once, beside a session and how.checkpoint_bytes of activations.
[[nodiscard]] size_t refit_costs_bytes(const Graph& graph, const std::vector<Group>& groups, int threads);

}  // namespace elek
