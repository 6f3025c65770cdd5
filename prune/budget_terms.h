// SPDX-License-Identifier: Apache-2.0
// About what each layer uses, in the units of budgets that the graph alone does not show. With these terms a search compares
// thousands of networks that are never made (prune/spend.h). prune/fit_budget.h then corrects by real networks what the terms
// get wrong: padding to whole vectors, another kernel for another width, another order of the steps.
// Tests: tests/prune/fit_budget_test.cpp
#pragma once

#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/session.h"
#include "engine/layer_times.h"
#include "prune/usage.h"

namespace elek {

/// Bytes of all tensors of a model file, in f32. The file's header is not in it.
[[nodiscard]] UsageTerms tensor_bytes_terms(const std::vector<Group>& groups, const Graph& graph);

/// Bytes of packed weights, and of the arena: one moment for each step of the dense network's plan. Errors as
/// estimate_memory().
[[nodiscard]] UsageTerms memory_terms(const Model& model, const std::vector<Group>& groups, const SessionOptions& options);

/// Microseconds of every convolution at five widths of its input and of its output, measured on this machine and interpolated
/// between them; everything else is what is left of `dense_us`, a run of
/// the dense network, and does not change.
[[nodiscard]] UsageTerms latency_terms(const std::vector<Group>& groups, const Graph& graph, LayerTimes& times,
                                       double dense_us);

}  // namespace elek
