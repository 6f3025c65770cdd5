// SPDX-License-Identifier: Apache-2.0
// Iterative pruning: a target reached in n rounds, statistics retaken between them. Each round looks at the network that the
// last one left and takes its part of what is still to go; compose() writes all rounds as one plan of the dense network, which
// is what gets cut, checked and repaired. So rounds change only *which* channels go. Pure functions of plans and numbers.
// Tests: tests/prune/steps_test.cpp
#pragma once

#include "prune/select.h"

namespace elek {

/// What round `step` of `steps` (1 … steps) asks of the network that `so_far` left of `dense`, so that after it each group has
/// lost step/steps of its share:
/// * Scope::kLayer counts channels of the dense network, rounds there (kept_count) and gives every group an override. After the
///   last round the counts are those of one cut.
/// * Scope::kGlobal takes what the pool of all groups has still to lose by now.
/// * Scope::kMacs may leave the MACs that step/steps of equal shares would leave of the dense network.
/// UsageError as select_channels(), ContractError for a step out of range.
[[nodiscard]] ChannelTarget step_target(const Graph& dense, const PrunePlan& so_far, const ChannelTarget& target, int step,
                                        int steps);
[[nodiscard]] WeightTarget step_target(const WeightTarget& target, int step, int steps);

/// `first`, then `second` (a plan of what apply(dense, first) gives), as one plan of the dense network. A channel's score is
/// the one it had in the last round that saw it; weights are kept that both keep (masks of one size: rounds that zero weights
/// remove no channels). Criterion and target are `second`'s. ContractError if the two do not fit.
[[nodiscard]] PrunePlan compose(const PrunePlan& first, const PrunePlan& second);

}  // namespace elek
