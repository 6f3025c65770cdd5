// SPDX-License-Identifier: Apache-2.0
// Selection: from scores and a target to a PrunePlan, which is data: it says what goes and why, and changes nothing.
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

/// MACs an image that `target`'s share of every group would leave, its overrides and ignored groups as they are; counts rounded
/// to round_to.
[[nodiscard]] double macs_of_equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target);

/// The least share, in whole thousandths, that leaves no more than `macs` of an image's MACs when every group gives it (the
/// target's own share is not looked at, its overrides and ignored groups are as they are). UsageError where 0.999 leaves more.
[[nodiscard]] double share_for_macs(const std::vector<Group>& groups, const Graph& graph, ChannelTarget target, double macs);

/// How many channels the group keeps when `removed` were to go: by target.round where set, else kept_count().
[[nodiscard]] int64_t kept_of(const Graph& graph, const Group& group, int64_t removed, const ChannelTarget& target);

/// The target as History records it: "channels=0.3 scope=layer round-to=auto …". (Files made before 2026-12 say scope=global
/// where the scope was kMacs. Nothing reads the text back: a replay goes by the channels kept.)
[[nodiscard]] std::string target_text(const ChannelTarget& target);

/// How many channels a group keeps when `removed` = round(s * C) were to go: the multiple of `step` nearest to C - removed,
/// ties up, at least one step, at most C. step = lcm(multiple, conv_groups); multiple = round_to, or for auto (0) 8 in groups
/// of 64 channels and more, 1 below (and only `conv_groups` where their lcm would keep the group whole). Nothing removed stays
/// so.
[[nodiscard]] int64_t kept_count(int64_t channels, int64_t removed, int64_t conv_groups, int64_t round_to);

/// Channels kept of each group under Scope::kMacs, from `kept` (what each may keep at most: all of them in the pool, its own
/// count elsewhere): step by step the group goes down whose next steps save most MACs for their cost, until no more than `macs`
/// are left or no pooled group can give (one step always stays). costs[g] as refit_costs(); a step is what kept_count() rounds
/// to.
[[nodiscard]] std::vector<int64_t> kept_by_cost(const std::vector<Group>& groups, const std::vector<std::vector<double>>& costs,
                                                const Graph& graph, const std::vector<bool>& pooled, std::vector<int64_t> kept,
                                                int64_t round_to, double macs);
/// MACs of an image with so many channels kept of each group.
[[nodiscard]] double macs_with(const std::vector<Group>& groups, const Graph& graph, const std::vector<int64_t>& kept);
/// What kept counts of a group are multiples of, as kept_count() says.
[[nodiscard]] int64_t kept_step(int64_t channels, int64_t conv_groups, int64_t round_to);

/// A share as History and messages spell it: the shortest decimal that reads back as the same number ("0.3").
[[nodiscard]] std::string share_text(double share);

}  // namespace elek
