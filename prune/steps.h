// SPDX-License-Identifier: Apache-2.0
// Iterative pruning: a target is reached in n rounds, with new statistics between them. Each round scores the network that the
// last one left and removes its part of the rest. compose() turns all rounds into one plan of the dense network, which is then
// cut, checked and repaired. So rounds only change *which* channels are removed. Pure functions of plans and numbers.
// Tests: tests/prune/steps_test.cpp
#pragma once

#include "prune/select.h"

namespace elek {

/// The target of round `step` of `steps` (1 … steps), for the network that `so_far` left of `dense`. After the round each group
/// has lost step/steps of its share.
/// * Scope::kLayer: counts are computed and rounded on the dense network's channels (kept_count), and every group gets an
///   override. After the last round the counts are those of one cut.
/// * Scope::kGlobal: removes what the pool of all groups still has to lose by this round.
/// * Scope::kMacs: leaves at most the MACs that step/steps of equal shares would leave of the dense network.
/// * With a budget: step/steps of what the dense network uses above the limit is gone; kLayer: by the equal shares that spend
/// it. UsageError as in select_channels(). ContractError if `step` is out of range.
[[nodiscard]] ChannelTarget step_target(const Graph& dense, const PrunePlan& so_far, const ChannelTarget& whole, int step,
                                        int steps);
[[nodiscard]] WeightTarget step_target(const WeightTarget& target, int step, int steps);

/// Joins `first` and `second` (a plan for the result of apply(dense, first)) into one plan of the dense network. A channel's
/// score is the one from the last round that scored it. A weight stays if both plans keep it (their masks have one size,
/// because rounds that zero weights remove no channels). Criterion and target are those of `second`. ContractError if the two
/// do not fit.
[[nodiscard]] PrunePlan compose(const PrunePlan& first, const PrunePlan& second);

}  // namespace elek
