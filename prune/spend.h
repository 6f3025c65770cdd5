// SPDX-License-Identifier: Apache-2.0
// Spends a budget: chooses how many channels each group keeps, so that the network uses as much of the budget as the rounding
// of counts allows, and never more. prune/select.h chooses which channels of a group these are.
// Tests: tests/prune/spend_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"

namespace elek {

/// What all ways of spending share. The references must outlive it.
struct Spending {
  const std::vector<Group>& groups;
  const Graph& graph;
  const ChannelTarget& target;  // rounds the counts
  Budget budget;
  std::vector<bool> free;  // [group]: the budget decides its count; other groups keep theirs
};

/// How much is won if group g keeps `more` channels and not `now`. Only compared, never added.
using Worth = std::function<double(size_t g, int64_t now, int64_t more)>;

/// kept_at(0) … kept_at(last) are counts that keep less and less. Takes the first that fits the budget. Then gives back single
/// steps to free groups while one fits, the one of most worth first. kept_at(last) if none fits: ask least_usage() before.
[[nodiscard]] std::vector<int64_t> spend_along(const Spending& how, int64_t last,
                                               const std::function<std::vector<int64_t>(int64_t)>& kept_at, const Worth& worth);

/// Counts of little cost under the budget. costs[g] as from refit_costs(): what the removal of a channel and of all channels
/// with less cost. Three starts: all channels (`kept` for groups that are not free), from which steps are taken where they save
/// most of the budget for their cost (looking ahead over several steps); `equal`, the counts of equal shares; and the best
/// counts at the smallest price that meets the budget. Each is then improved by exchanges: one group loses steps, another one
/// gets what fits. Returns the cheapest result, so it never costs more than equal shares. Work: some hundred thousand exchanges
/// for ResNet-50.
[[nodiscard]] std::vector<int64_t> spend_by_cost(const Spending& how, const std::vector<std::vector<double>>& costs,
                                                 const std::vector<int64_t>& kept, const std::vector<int64_t>& equal);

/// The smallest count of every free group; `kept` are the counts of the others.
[[nodiscard]] std::vector<int64_t> fewest_kept(const Spending& how, std::vector<int64_t> kept);
/// What is left if every free group keeps its smallest count; `kept` are the counts of the others.
[[nodiscard]] double least_usage(const Spending& how, std::vector<int64_t> kept);

/// The counts if `kept` was rounded to the target's counts and may exceed the budget: takes steps of least cost until it fits,
/// then gives back what fits.
[[nodiscard]] std::vector<int64_t> fit_rounded(const Spending& how, const std::vector<std::vector<double>>& costs,
                                               std::vector<int64_t> kept);

/// The smallest count above `kept` that the group may keep; 0 if it is whole.
[[nodiscard]] int64_t next_higher(const Spending& how, size_t g, int64_t kept);

/// What a network with these counts uses. The second for the units that follow from the graph.
[[nodiscard]] double usage_of(const std::vector<Group>& groups, const Graph& graph, const Budget& budget,
                              const std::vector<int64_t>& kept);
[[nodiscard]] double usage_of(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit,
                              const std::vector<int64_t>& kept);

}  // namespace elek
