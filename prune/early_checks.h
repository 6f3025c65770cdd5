// SPDX-License-Identifier: Apache-2.0
// Checks of a cut before any image is read: whether its target fits the network, whether it would remove nothing, whether there
// is enough memory. Callers ask before work that takes minutes or hours.
// Tests: tests/prune/select_test.cpp, tests/cli/early_test.cpp
#pragma once

#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"

namespace elek {

/// The checks of select_channels() that need no scores: shares, names, rounding. UsageError likewise.
void check_target(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);
/// The same for select_weights().
void check_target(const Graph& graph, const WeightTarget& target);
/// Whether the target removes nothing, whatever the scores are. False if that depends on the scores or on `target.round`.
[[nodiscard]] bool removes_nothing(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);

/// OutOfMemory if the memory that is left cannot hold what measuring the criterion's costs needs at least; the message says
/// about how much would do. Nothing is run.
void check_memory(const Model& model, const CutOptions& options);

}  // namespace elek
