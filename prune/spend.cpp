// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/spend_test.cpp
#include "prune/spend.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "core/at.h"
#include "prune/counts.h"
#include "prune/usage.h"

namespace elek {
namespace {

/// Sums of products of shares: whole numbers of MACs come out with this relative error at most.
constexpr double kRounding = 1e-12;
/// An exchange must gain more than this share of the cost, so that rounding cannot make the search go in circles.
constexpr double kLeastGain = 1e-9;
bool fits(double usage, const Budget& budget) { return usage <= budget.limit * (1 + kRounding); }

/// The largest count below `kept` that the group may keep; 0 if there is none.
int64_t next_lower(const Spending& how, size_t g, int64_t kept) {
  const Group& group = how.groups[g];
  if (!how.target.round) {
    const int64_t step = kept_step(group.channels, group.conv_groups, how.target.round_to);
    return (kept - 1) / step * step;
  }
  for (int64_t wish = kept - group.conv_groups; wish > 0; wish -= group.conv_groups) {
    if (const int64_t count = kept_of(how.graph, group, group.channels - wish, how.target); count < kept) return count;
  }
  return 0;
}

}  // namespace

int64_t next_higher(const Spending& how, size_t g, int64_t kept) {
  const Group& group = how.groups[g];
  if (kept == group.channels) return 0;
  if (!how.target.round) {
    const int64_t step = kept_step(group.channels, group.conv_groups, how.target.round_to);
    return std::min(group.channels, (kept / step + 1) * step);
  }
  for (int64_t wish = kept + group.conv_groups; wish < group.channels; wish += group.conv_groups) {
    if (const int64_t count = kept_of(how.graph, group, group.channels - wish, how.target); count > kept) return count;
  }
  return group.channels;
}

namespace {

/// Gives back steps while one fits, the one of most worth first.
void give_back(const Spending& how, const Worth& worth, Usage& usage) {
  for (;;) {
    double best = -std::numeric_limits<double>::infinity();
    size_t taker = how.groups.size();
    int64_t count = 0;
    for (size_t g = 0; g < how.groups.size(); ++g) {
      if (!how.free[g]) continue;
      const int64_t now = usage.kept()[g], more = next_higher(how, g, now);
      if (more == 0 || !fits(usage.total() - usage.saved(g, more), how.budget)) continue;
      if (const double gain = worth(g, now, more); gain > best) {
        best = gain;
        taker = g;
        count = more;
      }
    }
    if (taker == how.groups.size()) return;
    usage.set(taker, count);
  }
}

/// The costs of every group, in the order of removal.
class Costs {
 public:
  explicit Costs(std::vector<std::vector<double>> sorted) : sorted_(std::move(sorted)) {
    for (std::vector<double>& list : sorted_) std::sort(list.begin(), list.end());
  }
  [[nodiscard]] double at_count(size_t g, int64_t kept) const {
    const int64_t removed = std::ssize(sorted_[g]) - kept;
    return removed <= 0 ? 0.0 : sorted_[g][at(removed - 1)];
  }
  [[nodiscard]] double total(const Spending& how, const std::vector<int64_t>& kept) const {
    double sum = 0;
    for (size_t g = 0; g < kept.size(); ++g) sum += how.free[g] ? at_count(g, kept[g]) : 0.0;
    return sum;
  }

 private:
  std::vector<std::vector<double>> sorted_;
};

/// The best next count of a group: the one with the least cost for what it saves.
struct Offer {
  double rate = std::numeric_limits<double>::infinity();
  int64_t kept = 0;
};

Offer best_offer(const Spending& how, size_t g, const Costs& costs, double wanted, const Usage& usage) {
  Offer best;
  const int64_t now = usage.kept()[g];
  for (int64_t kept = next_lower(how, g, now); kept > 0; kept = next_lower(how, g, kept)) {
    const double saved = usage.saved(g, kept);
    const double rate = (costs.at_count(g, kept) - costs.at_count(g, now)) / saved;
    if (saved > 0 && rate < best.rate) best = {rate, kept};
    if (saved >= wanted) break;
  }
  return best;
}

/// Takes the best offers until the budget is met, or no group can give more.
void take(const Spending& how, const Costs& costs, Usage& usage) {
  while (!fits(usage.total(), how.budget)) {
    Offer best;
    size_t giver = how.groups.size();
    for (size_t g = 0; g < how.groups.size(); ++g) {
      if (!how.free[g]) continue;
      const Offer offer = best_offer(how, g, costs, usage.total() - how.budget.limit, usage);
      if (offer.rate < best.rate) {
        best = offer;
        giver = g;
      }
    }
    if (giver == how.groups.size()) return;
    usage.set(giver, best.kept);
  }
}

/// The largest count of group g that fits the budget; its own count if no larger one does.
int64_t most_that_fits(const Spending& how, size_t g, const Usage& usage) {
  int64_t most = usage.kept()[g];
  for (int64_t more = next_higher(how, g, most); more != 0; more = next_higher(how, g, more)) {
    if (!fits(usage.total() - usage.saved(g, more), how.budget)) break;
    most = more;
  }
  return most;
}

/// Gives what is left of the budget to groups other than `giver`, most gain for its use first, whole leaps included.
void hand_out(const Spending& how, const Costs& costs, size_t giver, Usage& usage) {
  for (;;) {
    double best = 0;
    size_t taker = how.groups.size();
    int64_t count = 0;
    for (size_t g = 0; g < how.groups.size(); ++g) {
      if (!how.free[g] || g == giver) continue;
      const int64_t now = usage.kept()[g], most = most_that_fits(how, g, usage);
      for (const int64_t more : {next_higher(how, g, now), most}) {
        if (more <= now || more > most) continue;
        const double rate = (costs.at_count(g, now) - costs.at_count(g, more)) / -usage.saved(g, more);
        if (rate > best) {
          best = rate;
          taker = g;
          count = more;
        }
      }
    }
    if (taker == how.groups.size()) return;
    usage.set(taker, count);
  }
}

/// Group `giver` loses 1, 2, 4, … steps if other groups can use them better. Returns whether they could.
bool exchange(const Spending& how, const Costs& costs, size_t giver, double least_gain, Usage& usage) {
  const Usage before = usage;
  const double cost = costs.total(how, usage.kept());
  int64_t kept = usage.kept()[giver];
  for (int leap = 1; kept != 0; leap *= 2) {
    for (int step = 0; step < leap && kept != 0; ++step) kept = next_lower(how, giver, kept);
    if (kept == 0) break;
    usage = before;
    usage.set(giver, kept);
    hand_out(how, costs, giver, usage);
    if (costs.total(how, usage.kept()) < cost - least_gain) return true;
  }
  usage = before;
  return false;
}

/// The counts of least cost + price * use, one group after the other until none changes. Other starts can give others.
void settle(const Spending& how, const Costs& costs, double price, Usage& usage) {
  constexpr int kRounds = 20;
  bool changed = true;
  for (int round = 0; changed && round < kRounds; ++round) {
    changed = false;
    for (size_t g = 0; g < how.groups.size(); ++g) {
      if (!how.free[g]) continue;
      const int64_t now = usage.kept()[g];
      double least = costs.at_count(g, now);  // for the use that there is now
      int64_t best = now;
      for (int64_t kept = how.groups[g].channels; kept > 0; kept = next_lower(how, g, kept)) {
        const double sum = costs.at_count(g, kept) - price * usage.saved(g, kept);
        if (sum < least) {
          least = sum;
          best = kept;
        }
      }
      if (best == now) continue;
      usage.set(g, best);
      changed = true;
    }
  }
}

/// Counts at the smallest price of the budget's unit that meets the budget (Everett 1963: such counts cost least among all that
/// use as much, if every group settled at its best).
std::vector<int64_t> priced(const Spending& how, const Costs& costs, const std::vector<int64_t>& kept) {
  constexpr int kHalvings = 40;
  const auto at_price = [&](double price) {
    Usage usage(how.groups, how.graph, how.budget, kept);
    settle(how, costs, price, usage);
    return usage;
  };
  double low = 0, high = 1e-12;
  constexpr double kHighest = 1e30;
  while (high < kHighest && !fits(at_price(high).total(), how.budget)) {
    low = high;
    high *= 16;
  }
  for (int i = 0; i < kHalvings; ++i) {
    const double middle = low > 0 ? std::sqrt(low * high) : high / 2;
    (fits(at_price(middle).total(), how.budget) ? high : low) = middle;
  }
  return at_price(high).kept();
}

/// Spends what is left of the budget, then exchanges until no exchange gains.
std::vector<int64_t> improve(const Spending& how, const Costs& costs, Usage& usage) {
  const Worth per_usage = [&](size_t g, int64_t now, int64_t more) {
    return (costs.at_count(g, now) - costs.at_count(g, more)) / std::max(-usage.saved(g, more), 1e-30);
  };
  give_back(how, per_usage, usage);
  const double least_gain = kLeastGain * costs.total(how, usage.kept());
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t g = 0; g < how.groups.size(); ++g) {
      if (how.free[g]) changed = exchange(how, costs, g, least_gain, usage) || changed;
    }
  }
  give_back(how, per_usage, usage);
  return usage.kept();
}

}  // namespace

double usage_of(const std::vector<Group>& groups, const Graph& graph, const Budget& budget, const std::vector<int64_t>& kept) {
  return Usage(groups, graph, budget, kept).total();
}

double usage_of(const std::vector<Group>& groups, const Graph& graph, BudgetUnit unit, const std::vector<int64_t>& kept) {
  return usage_of(groups, graph, Budget{unit, 0}, kept);
}

std::vector<int64_t> fewest_kept(const Spending& how, std::vector<int64_t> kept) {
  for (size_t g = 0; g < how.groups.size(); ++g) {
    if (!how.free[g]) continue;
    kept[g] = how.groups[g].channels;
    for (int64_t lower = next_lower(how, g, kept[g]); lower > 0; lower = next_lower(how, g, lower)) kept[g] = lower;
  }
  return kept;
}

double least_usage(const Spending& how, std::vector<int64_t> kept) {
  kept = fewest_kept(how, std::move(kept));
  return usage_of(how.groups, how.graph, how.budget, kept);
}

std::vector<int64_t> spend_along(const Spending& how, int64_t last, const std::function<std::vector<int64_t>(int64_t)>& kept_at,
                                 const Worth& worth) {
  const auto over = [&](int64_t index) {
    return !fits(usage_of(how.groups, how.graph, how.budget, kept_at(index)), how.budget);
  };
  int64_t too_much = -1, enough = last;
  while (enough - too_much > 1) {
    const int64_t middle = std::midpoint(too_much, enough);
    (over(middle) ? too_much : enough) = middle;
  }
  Usage usage(how.groups, how.graph, how.budget, kept_at(enough));
  give_back(how, worth, usage);
  return usage.kept();
}

std::vector<int64_t> spend_by_cost(const Spending& how, const std::vector<std::vector<double>>& costs,
                                   const std::vector<int64_t>& kept, const std::vector<int64_t>& equal) {
  const Costs sorted(costs);
  std::vector<int64_t> best;
  for (const std::vector<int64_t>& start : {kept, equal, priced(how, sorted, kept)}) {
    Usage usage(how.groups, how.graph, how.budget, start);
    take(how, sorted, usage);
    std::vector<int64_t> counts = improve(how, sorted, usage);
    if (best.empty() || sorted.total(how, counts) < sorted.total(how, best)) best = std::move(counts);
  }
  return best;
}

std::vector<int64_t> fit_rounded(const Spending& how, const std::vector<std::vector<double>>& costs,
                                 std::vector<int64_t> kept) {
  const Costs sorted(costs);
  Usage usage(how.groups, how.graph, how.budget, std::move(kept));
  take(how, sorted, usage);
  give_back(
      how, [&](size_t g, int64_t now, int64_t more) { return sorted.at_count(g, now) - sorted.at_count(g, more); }, usage);
  return usage.kept();
}

}  // namespace elek
