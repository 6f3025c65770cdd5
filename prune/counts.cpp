// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/select_test.cpp, tests/prune/spend_test.cpp
#include "prune/counts.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/at.h"
#include "core/error.h"
#include "prune/early_checks.h"
#include "prune/select.h"
#include "prune/spend.h"

namespace elek {
namespace {

void check_share(double share, const std::string& what) {
  if (!(share >= 0.0 && share < 1.0)) {  // written so that NaN is refused too
    throw UsageError(what + " is " + share_text(share) + ", expected at least 0 and less than 1");
  }
}

std::string count_text(double count) { return std::to_string(std::llround(count)); }

/// As it follows a number.
std::string text_of(BudgetUnit unit) {
  switch (unit) {
    case BudgetUnit::kMacs:
      return " MACs per image";
    case BudgetUnit::kParameters:
      return " parameters";
    case BudgetUnit::kFileBytes:
      return " bytes of the model file";
    case BudgetUnit::kMemory:
      return " bytes of weights and arena";
    case BudgetUnit::kLatency:
      return " microseconds per image";
  }
  throw ContractError("a budget's unit without a text");
}

/// What is asked of each group: its share of channels, and whether that share is the target's. If not, its count is fixed.
struct Wish {
  double share = 0;
  bool free = true;
};

std::vector<Wish> read_wishes(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  check_share(target.share, "the share of channels");
  std::vector<Wish> wishes(groups.size(), Wish{target.share, true});
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].prunable) wishes[g] = {0, false};
  }
  std::vector<std::string> asked(groups.size());
  for (const auto& [name, share] : target.overrides) {
    check_share(share, "the share for '" + name + "'");
    const size_t g = find_group(graph, groups, name);
    if (!groups[g].prunable) {
      throw UsageError("'" + name + "' cannot be cut: its channels are the network's input or its logits, or no cut fits all " +
                       "values tied to them");
    }
    if (!asked[g].empty()) {
      throw UsageError("'" + asked[g] + "' and '" + name + "' are in one group ('" + groups[g].name + "'); give one share");
    }
    asked[g] = name;
    wishes[g] = {share, false};
  }
  for (const std::string& name : target.ignore) {
    const size_t g = find_group(graph, groups, name);
    if (!asked[g].empty()) {
      throw UsageError("'" + name + "' is to be ignored, but '" + asked[g] + "' in the same group ('" + groups[g].name +
                       "') has a share; leave out one of them");
    }
    wishes[g] = {0, false};
  }
  return wishes;
}

/// Scores of the pool can be compared: each is divided by the mean of its group. A group whose scores are all zero has no mean
/// to divide by. Its channels do no work: they stay at zero and go first.
std::vector<std::vector<double>> comparable(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores) {
  std::vector<std::vector<double>> all = scores;
  for (size_t g = 0; g < groups.size(); ++g) {
    const double mean = std::accumulate(all[g].begin(), all[g].end(), 0.0) / static_cast<double>(groups[g].channels);
    for (double& score : all[g]) score = mean > 0 ? score / mean : 0.0;
  }
  return all;
}

/// The channels of all groups in the pool, in the order in which they are removed.
std::vector<size_t> pool_order(const std::vector<std::vector<double>>& comparable, const std::vector<Wish>& wishes) {
  struct Candidate {
    double score;
    size_t group;
  };
  std::vector<Candidate> pool;
  for (size_t g = 0; g < wishes.size(); ++g) {
    if (!wishes[g].free) continue;
    for (const double score : comparable[g]) pool.push_back({score, g});
  }
  std::stable_sort(pool.begin(), pool.end(), [](const Candidate& a, const Candidate& b) { return a.score < b.score; });
  std::vector<size_t> order;
  order.reserve(pool.size());
  for (const Candidate& candidate : pool) order.push_back(candidate.group);
  return order;
}

/// Takes the first channels of the pool from their groups, but never the last channel of a group.
void take_from_pool(const std::vector<Group>& groups, const std::vector<size_t>& order, int64_t wanted,
                    std::vector<int64_t>& removed) {
  for (const size_t g : order) {
    if (wanted == 0) break;
    if (removed[g] + 1 >= groups[g].channels) continue;
    ++removed[g];
    --wanted;
  }
}

}  // namespace

int64_t kept_step(int64_t channels, int64_t conv_groups, int64_t round_to) {
  const int64_t multiple = round_to > 0 ? round_to : (channels >= 64 ? 8 : 1);
  const int64_t step = std::lcm(multiple, conv_groups);
  return round_to == 0 && step > channels ? conv_groups : step;  // auto is only a preference: it must not keep a whole group
}

int64_t kept_count(int64_t channels, int64_t removed, int64_t conv_groups, int64_t round_to) {
  ELEK_CHECK(conv_groups > 0 && channels % conv_groups == 0 && removed >= 0 && round_to >= 0,
             "kept_count: " + std::to_string(channels) + " channels in " + std::to_string(conv_groups) +
                 " convolution groups, " + std::to_string(removed) + " removed, multiples of " + std::to_string(round_to));
  if (removed == 0) return channels;
  const int64_t step = kept_step(channels, conv_groups, round_to);
  const int64_t kept = channels - removed;
  const int64_t nearest = (2 * kept + step) / (2 * step) * step;
  return std::min(channels, std::max(step, nearest));
}

int64_t kept_of(const Graph& graph, const Group& group, int64_t removed, const ChannelTarget& target) {
  if (!target.round || removed == 0) return kept_count(group.channels, removed, group.conv_groups, target.round_to);
  const int64_t kept = target.round(graph, group, std::max(group.conv_groups, group.channels - removed));
  ELEK_CHECK(kept > 0 && kept <= group.channels && kept % group.conv_groups == 0,
             "group '" + group.name + "': rounding gave " + std::to_string(kept) + " of " + std::to_string(group.channels) +
                 " channels in " + std::to_string(group.conv_groups) + " convolution groups");
  return kept;
}

namespace {

/// How many channels each group keeps if this many were to go.
std::vector<int64_t> kept_after(const std::vector<Group>& groups, const Graph& graph, const std::vector<int64_t>& removed,
                                const ChannelTarget& target) {
  std::vector<int64_t> kept;
  for (size_t g = 0; g < groups.size(); ++g)
    kept.push_back(groups[g].prunable ? kept_of(graph, groups[g], removed[g], target) : groups[g].channels);
  return kept;
}

std::vector<int64_t> removed_by_share(const std::vector<Group>& groups, const std::vector<Wish>& wishes) {
  std::vector<int64_t> removed;
  for (size_t g = 0; g < groups.size(); ++g)
    removed.push_back(std::llround(wishes[g].share * static_cast<double>(groups[g].channels)));
  return removed;
}

/// Removes `share` of every free group's channels, and of every other group its own share.
std::vector<int64_t> kept_by_share(const std::vector<Group>& groups, const Graph& graph, std::vector<Wish> wishes,
                                   const ChannelTarget& target, double share) {
  for (Wish& wish : wishes) wish.share = wish.free ? share : wish.share;
  return kept_after(groups, graph, removed_by_share(groups, wishes), target);
}

/// The counts of groups that are not free; all channels of the others.
std::vector<int64_t> kept_at_most(const std::vector<Group>& groups, const Graph& graph, const std::vector<Wish>& wishes,
                                  const ChannelTarget& target) {
  return kept_by_share(groups, graph, wishes, target, 0);
}

double macs_by_share(const std::vector<Group>& groups, const Graph& graph, const std::vector<Wish>& wishes,
                     ChannelTarget target) {
  target.round = nullptr;  // a budget must be the same on every machine
  return usage_of(groups, graph, BudgetUnit::kMacs, kept_after(groups, graph, removed_by_share(groups, wishes), target));
}

Spending spending_of(const std::vector<Group>& groups, const Graph& graph, const std::vector<Wish>& wishes,
                     const ChannelTarget& target, const Budget& budget) {
  Spending how{groups, graph, target, budget, {}};
  for (const Wish& wish : wishes) how.free.push_back(wish.free);
  return how;
}

/// The largest equal share that spends the budget, in millionths. Groups that lost most get back what is left.
std::vector<int64_t> spend_equally(const Spending& how, const std::vector<Wish>& wishes) {
  constexpr int64_t kShares = 1'000'000;
  return spend_along(
      how, kShares - 1,
      [&](int64_t millionths) {
        const double share = static_cast<double>(millionths) / kShares;
        return kept_by_share(how.groups, how.graph, wishes, how.target, share);
      },
      [&](size_t g, int64_t now, int64_t /*more*/) {
        const int64_t channels = how.groups[g].channels;
        return static_cast<double>(channels - now) / static_cast<double>(channels);
      });
}

/// The lowest scores of the pool, as many as the budget asks for. Channels of the highest scores come back.
std::vector<int64_t> spend_on_pool(const Spending& how, const std::vector<std::vector<double>>& scores,
                                   const std::vector<Wish>& wishes) {
  std::vector<std::vector<double>> sorted = comparable(how.groups, scores);
  const std::vector<size_t> order = pool_order(sorted, wishes);
  for (std::vector<double>& list : sorted) std::sort(list.begin(), list.end());
  std::vector<int64_t> fixed = removed_by_share(how.groups, wishes);
  for (size_t g = 0; g < wishes.size(); ++g) fixed[g] = wishes[g].free ? 0 : fixed[g];
  return spend_along(
      how, std::ssize(order),
      [&](int64_t taken) {
        std::vector<int64_t> removed = fixed;
        take_from_pool(how.groups, order, taken, removed);
        return kept_after(how.groups, how.graph, removed, how.target);
      },
      [&](size_t g, int64_t now, int64_t more) {
        const int64_t channels = how.groups[g].channels;
        const auto first = sorted[g].begin();
        return std::accumulate(first + (channels - more), first + (channels - now), 0.0) / static_cast<double>(more - now);
      });
}

/// Where the cost is least. Equal shares are one start, so the result never costs more than they do.
std::vector<int64_t> spend_on_costs(const std::vector<Group>& groups, const Graph& graph, const std::vector<Wish>& wishes,
                                    const ChannelTarget& target, const std::vector<std::vector<double>>& costs) {
  ChannelTarget exact = target;
  exact.round = nullptr;
  const Budget budget =
      target.budget ? *target.budget : Budget{BudgetUnit::kMacs, macs_by_share(groups, graph, wishes, target)};
  const Spending how = spending_of(groups, graph, wishes, exact, budget);
  const std::vector<int64_t> most = kept_at_most(groups, graph, wishes, exact);
  std::vector<int64_t> kept = spend_by_cost(how, costs, most, spend_equally(how, wishes));
  if (!target.round) return kept;
  std::vector<int64_t> removed;
  for (size_t g = 0; g < groups.size(); ++g) removed.push_back(groups[g].channels - kept[g]);
  std::vector<int64_t> rounded = kept_after(groups, graph, removed, target);
  return target.budget ? fit_rounded(spending_of(groups, graph, wishes, target, budget), costs, std::move(rounded)) : rounded;
}

}  // namespace

std::vector<int64_t> kept_counts(const std::vector<Group>& groups, const std::vector<std::vector<double>>& scores,
                                 const Graph& graph, const ChannelTarget& target) {
  const std::vector<Wish> wishes = read_wishes(groups, graph, target);
  if (target.scope == Scope::kMacs) return spend_on_costs(groups, graph, wishes, target, scores);
  if (target.budget) {
    const Spending how = spending_of(groups, graph, wishes, target, *target.budget);
    return target.scope == Scope::kLayer ? spend_equally(how, wishes) : spend_on_pool(how, scores, wishes);
  }
  std::vector<int64_t> removed = removed_by_share(groups, wishes);
  if (target.scope == Scope::kGlobal) {
    for (size_t g = 0; g < groups.size(); ++g) removed[g] = wishes[g].free ? 0 : removed[g];
    const std::vector<size_t> order = pool_order(comparable(groups, scores), wishes);
    take_from_pool(groups, order, std::llround(target.share * static_cast<double>(order.size())), removed);
  }
  return kept_after(groups, graph, removed, target);
}

std::vector<bool> free_groups(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  std::vector<bool> free;
  for (const Wish& wish : read_wishes(groups, graph, target)) free.push_back(wish.free);
  return free;
}

std::vector<int64_t> fewest_counts(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  ChannelTarget exact = target;
  exact.round = nullptr;
  const std::vector<Wish> wishes = read_wishes(groups, graph, exact);
  return fewest_kept(spending_of(groups, graph, wishes, exact, Budget{}), kept_at_most(groups, graph, wishes, exact));
}

namespace {

/// UsageError if the limit cannot be meant, or cannot be reached. A budget that must be measured is checked by check_fits().
void check_budget(const std::vector<Group>& groups, const Graph& graph, const std::vector<Wish>& wishes, ChannelTarget target) {
  const Budget budget = *target.budget;
  const std::string unit = text_of(budget.unit);
  if (!(budget.limit > 0 && std::isfinite(budget.limit)))
    throw UsageError("the budget is " + share_text(budget.limit) + unit + ", expected a positive number");
  if (budget.exact) return;
  target.round = nullptr;
  const std::vector<int64_t> most = kept_at_most(groups, graph, wishes, target);
  const double least = least_usage(spending_of(groups, graph, wishes, target, budget), most);
  if (least <= budget.limit) return;
  throw out_of_reach(budget, least);
}

}  // namespace

UsageError out_of_reach(const Budget& budget, double least) {
  const std::string unit = text_of(budget.unit);
  // Of a unit that is measured, only some networks were tried.
  const std::string how = budget.exact ? "the smallest network that was found has " + count_text(least)
                                       : "with the smallest count in every group " + count_text(least) + " are left";
  return UsageError("at most " + count_text(budget.limit) + unit + " were to be left, but " + how +
                    "; allow more, or ignore fewer groups, or round counts less");
}

void check_target(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  if (target.round_to < 0)
    throw UsageError("round-to is " + std::to_string(target.round_to) + ", expected 0 (auto) or at least 1");
  const std::vector<Wish> wishes = read_wishes(groups, graph, target);
  if (target.budget) check_budget(groups, graph, wishes, target);
}

bool removes_nothing(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  if (target.round || (target.budget && target.budget->exact)) return false;
  const std::vector<Wish> wishes = read_wishes(groups, graph, target);
  std::vector<int64_t> kept;
  if (target.budget) {
    kept = spend_equally(spending_of(groups, graph, wishes, target, *target.budget), wishes);
  } else {
    std::vector<int64_t> removed = removed_by_share(groups, wishes);
    if (target.scope == Scope::kGlobal) {  // at most so many; the scores decide where
      int64_t pool = 0;
      for (size_t g = 0; g < groups.size(); ++g) pool += wishes[g].free ? groups[g].channels : 0;
      const bool any = std::llround(target.share * static_cast<double>(pool)) > 0;
      for (size_t g = 0; g < groups.size(); ++g) {
        if (wishes[g].free) removed[g] = any ? groups[g].channels - 1 : 0;
      }
    }
    kept = kept_after(groups, graph, removed, target);
  }
  for (size_t g = 0; g < groups.size(); ++g) {
    if (kept[g] != groups[g].channels) return false;
  }
  return true;
}

double macs_of_equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  return macs_by_share(groups, graph, read_wishes(groups, graph, target), target);
}

ChannelTarget equal_shares(const std::vector<Group>& groups, const Graph& graph, const ChannelTarget& target) {
  if (!target.budget) return target;
  const std::vector<Wish> wishes = read_wishes(groups, graph, target);
  const std::vector<int64_t> kept = spend_equally(spending_of(groups, graph, wishes, target, *target.budget), wishes);
  ChannelTarget shares = target;
  shares.budget.reset();
  for (size_t g = 0; g < groups.size(); ++g) {
    if (wishes[g].free)
      shares.overrides[groups[g].name] =
          static_cast<double>(groups[g].channels - kept[g]) / static_cast<double>(groups[g].channels);
  }
  return shares;
}

}  // namespace elek
