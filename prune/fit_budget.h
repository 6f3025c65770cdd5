// SPDX-License-Identifier: Apache-2.0
// Budgets that are only known of a network that was cut: bytes of its file, bytes of its session, microseconds of a run. Counts
// are chosen by terms (prune/budget_terms.h), the network is cut, and what it really uses corrects the limit for the terms.
// Tests: tests/prune/fit_budget_test.cpp
#pragma once

#include <vector>

#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/prune.h"

namespace elek {

/// A plan whose network uses at most the target's budget, which has `exact`, and as much of it as was found in a dozen tries.
/// Bytes are then handed out by single steps of counts as long as one fits. UsageError as select_channels().
[[nodiscard]] PrunePlan fit_budget(const Model& model, const std::vector<Group>& groups, const Scores& scores,
                                   const ChannelTarget& target, MemoryResource& memory);

/// Before any image is read: UsageError if even the smallest count in every group uses more than the budget, or if the whole
/// network uses no more than it. Nothing is checked of a budget without `exact`.
void check_fits(const Model& model, const ChannelTarget& target, MemoryResource& memory);

}  // namespace elek
