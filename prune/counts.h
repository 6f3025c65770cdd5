// SPDX-License-Identifier: Apache-2.0
// How many channels each group keeps, for a target: a share of each group, a share of all groups together, or a budget
// (prune/spend.h); then rounding. Pure functions of numbers, with the same result on every machine (unless ChannelTarget::round
// is set).
// Tests: tests/prune/select_test.cpp, tests/prune/spend_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "core/error.h"
#include "elek/graph.h"
#include "elek/prune.h"

namespace elek {

/// [group]: how many channels it keeps. UsageError as select_channels(). `scores` are those of all groups; Scope::kLayer does
/// not read them.
[[nodiscard]] std::vector<int64_t> kept_counts(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                                               const Graph& graph, const ChannelTarget& target);

/// The error for a budget below the least that can be left.
[[nodiscard]] UsageError out_of_reach(const Budget& budget, double least);

/// MACs per image that are left if every group loses `target`'s share; overrides and ignored groups stay as they are. Counts
/// are rounded to round_to.
[[nodiscard]] double macs_of_equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);

/// The target of Scope::kLayer with its budget turned into a share for every group. The target itself if it has no budget.
[[nodiscard]] ChannelTarget equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);

/// [group]: whether the target's share or budget decides its count; other groups have their own share, or stay whole.
[[nodiscard]] std::vector<bool> free_groups(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);

/// [group]: the smallest count that it may have. Overrides and ignored groups stay as they are.
[[nodiscard]] std::vector<int64_t> fewest_counts(const std::vector<Group>& groups, const Graph& graph,
                                                 const ChannelTarget& target);

/// How many channels the group keeps if `removed` were to go: target.round decides if it is set, otherwise kept_count().
[[nodiscard]] int64_t kept_of(const Graph& graph, const Group& group, int64_t removed, const ChannelTarget& target);

/// How many channels a group keeps if `removed` = round(s * C) were to go: the multiple of `step` nearest to C - removed, ties
/// up, at least one step, at most C. step = lcm(multiple, conv_groups). multiple = round_to; for auto (0) it is 8 in groups of
/// 64 channels and more, and 1 in smaller ones. If that lcm is larger than C, auto uses conv_groups alone. If nothing is
/// removed, all stay.
[[nodiscard]] int64_t kept_count(int64_t channels, int64_t removed, int64_t conv_groups, int64_t round_to);

/// The number that a group's kept counts are multiples of: kept_count()'s `step`.
[[nodiscard]] int64_t kept_step(int64_t channels, int64_t conv_groups, int64_t round_to);

}  // namespace elek
