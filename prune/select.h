// SPDX-License-Identifier: Apache-2.0
// Selection: turns scores and a target into a PrunePlan. A plan is data: it says what goes and why, and changes nothing.
// Tests: tests/prune/select_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/statistics.h"
#include "prune/groups.h"

namespace elek {

/// MACs per image that are left if every group loses `target`'s share; overrides and ignored groups stay as they are. Counts
/// are rounded to round_to.
[[nodiscard]] double macs_of_equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);

/// The smallest share, in thousandths, that leaves at most `macs` MACs per image if every group loses it. Ignores the target's
/// own share; overrides and ignored groups stay as they are. UsageError if a share of 0.999 leaves more.
[[nodiscard]] double share_for_macs(const std::vector<Group>& groups, const Graph& graph, ChannelTarget target, double macs);

/// How many channels the group keeps if `removed` were to go: target.round decides if it is set, otherwise kept_count().
[[nodiscard]] int64_t kept_of(const Graph& graph, const Group& group, int64_t removed, const ChannelTarget& target);

/// The target as History records it: "channels=0.3 scope=layer round-to=auto …". Files made before 2026-12 say scope=global if
/// the scope was kMacs. No code reads the text back: a replay uses the kept channels.
[[nodiscard]] std::string target_text(const ChannelTarget& target);

/// How many channels a group keeps if `removed` = round(s * C) were to go: the multiple of `step` nearest to C - removed, ties
/// up, at least one step, at most C. step = lcm(multiple, conv_groups). multiple = round_to; for auto (0) it is 8 in groups of
/// 64 channels and more, and 1 in smaller ones. If that lcm is larger than C, auto uses conv_groups alone. If nothing is
/// removed, all stay.
[[nodiscard]] int64_t kept_count(int64_t channels, int64_t removed, int64_t conv_groups, int64_t round_to);

/// How many channels each group keeps under Scope::kMacs. Starts from `kept`, the most that each group may keep: all channels
/// of groups in the pool, the fixed count of others. Repeatedly takes channels from the group whose next steps save most MACs
/// per cost, until at most `macs` are left or no group in the pool can give any (one step always stays). costs[g] as from
/// refit_costs(); a step is what kept_count() rounds to.
[[nodiscard]] std::vector<int64_t> kept_by_cost(const std::vector<Group>& groups, const std::vector<std::vector<double>>& costs,
                                                const Graph& graph, const std::vector<bool>& pooled, std::vector<int64_t> kept,
                                                int64_t round_to, double macs);
/// MACs per image with this many channels kept of each group.
[[nodiscard]] double macs_with(const std::vector<Group>& groups, const Graph& graph, const std::vector<int64_t>& kept);
/// The number that a group's kept counts are multiples of: kept_count()'s `step`.
[[nodiscard]] int64_t kept_step(int64_t channels, int64_t conv_groups, int64_t round_to);

/// A share as History and messages write it: the shortest decimal that reads back as the same number ("0.3").
[[nodiscard]] std::string share_text(double share);

}  // namespace elek
