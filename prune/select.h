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

/// The target as History records it: "channels=0.3 scope=layer round-to=auto …". Files made before 2026-12 say scope=global if
/// the scope was kMacs. No code reads the text back: a replay uses the kept channels.
[[nodiscard]] std::string target_text(const ChannelTarget& target);

/// The plan that keeps so many channels of each group: those with the highest scores.
[[nodiscard]] PrunePlan plan_of_counts(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                                       const std::vector<int64_t>& kept, const ChannelTarget& target);

/// A share as History and messages write it: the shortest decimal that reads back as the same number ("0.3").
[[nodiscard]] std::string share_text(double share);

}  // namespace elek
