// SPDX-License-Identifier: Apache-2.0
// What the metrics taylor and fisher add up: for each channel the sum of gradient * weight over all weights that a cut of the
// channel removes, squared, averaged over batches or over images (docs/criteria.md has formulas and sources).
// Batch norm is folded into its convolution, so its weight and bias are part of the convolution's rows and bias. Keeps one
// number per channel, whatever the number of images.
// Tests: tests/prune/gradient_importance_test.cpp
#pragma once

#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"
#include "train/gradients.h"

namespace elek {

/// importance[g][c] = mean over the gradients of (sum over the channel's weights of gradient * weight)^2, weighted by the
/// images of each gradient. The weights of channel c: the rows and biases of the group's producers (a depthwise filter is one
/// of them), and the columns of its consumers. Empty for groups that are not prunable. `metric`: its name, for errors.
/// InputError naming the layer if a gradient is NaN or infinite; else as for_each_gradient().
[[nodiscard]] Scores gradient_importance(const Model& model, const std::vector<Group>& groups, BatchSource& images,
                                         const train::GradientOptions& options, const std::string& metric,
                                         const Progress& progress);

/// Costs of removal, lowest importance first, ties by index: each channel's is the sum of its own importance and of all
/// importances before it.
[[nodiscard]] Scores costs_in_order(const Scores& importance);

}  // namespace elek
