// SPDX-License-Identifier: Apache-2.0
// Budgets: what a cut network uses, that a budget is spent and never exceeded, and that the choice by cost costs least.
#include "prune/spend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "core/at.h"
#include "core/error.h"
#include "core/runtime.h"
#include "prune/apply.h"
#include "prune/counts.h"
#include "prune/groups.h"
#include "prune/select.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

/// input -> a (16) -> b (16) -> c (8) -> pool -> fc; all 1x1.
Graph chain() {
  Graph graph;
  ValueId x = graph.add("input", InputAttrs{{4, 6, 6}}, {});
  x = graph.add("a", Conv2dAttrs{16, 1, 1, 0, 1, true}, {x});
  x = graph.add("a.relu", ReluAttrs{}, {x});
  x = graph.add("b", Conv2dAttrs{16, 1, 1, 0, 1, true}, {x});
  x = graph.add("b.relu", ReluAttrs{}, {x});
  x = graph.add("c", Conv2dAttrs{8, 1, 1, 0, 1, true}, {x});
  x = graph.add("c.relu", ReluAttrs{}, {x});
  x = graph.add("pool", GlobalAvgPoolAttrs{}, {x});
  x = graph.add("flatten", FlattenAttrs{}, {x});
  x = graph.add("fc", LinearAttrs{3, true}, {x});
  graph.set_output(x);
  return graph;
}

/// Costs that grow by `each` a channel, last channel first to go.
std::vector<double> rising(int64_t channels, double each) {
  std::vector<double> costs;
  for (int64_t c = channels; c > 0; --c) costs.push_back(each * static_cast<double>(c));
  return costs;
}

std::vector<int64_t> kept_in(const std::vector<Group>& groups, const PrunePlan& plan) {
  std::vector<int64_t> kept;
  for (const Group& group : groups) {
    const auto cut =
        std::find_if(plan.groups.begin(), plan.groups.end(), [&](const GroupCut& c) { return c.group == group.name; });
    kept.push_back(cut == plan.groups.end() ? group.channels : std::ssize(cut->keep));
  }
  return kept;
}

/// The counts that a group may have.
std::vector<int64_t> ladder(const Group& group, int64_t round_to) {
  std::vector<int64_t> counts{group.channels};
  if (!group.prunable) return counts;
  const int64_t step = kept_step(group.channels, group.conv_groups, round_to);
  for (int64_t kept = step; kept < group.channels; kept += step) counts.push_back(kept);
  return counts;
}

/// Costs of every prunable group that grow in the order of removal: by about the same each time, or (power > 0) by more and
/// more, as those of real networks.
std::vector<std::vector<double>> random_costs(const std::vector<Group>& groups, uint64_t seed, double power = 0) {
  Random random(seed);
  std::vector<std::vector<double>> costs(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    double total = 0;
    for (int64_t c = 0; groups[g].prunable && c < groups[g].channels; ++c)
      costs[g].push_back(total += random.uniform() * std::pow(static_cast<double>(c + 1), power));
  }
  return costs;
}

double total_cost(const std::vector<Group>& groups, std::vector<std::vector<double>> costs, const std::vector<int64_t>& kept) {
  double sum = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    std::sort(costs[g].begin(), costs[g].end());
    if (groups[g].prunable && kept[g] < groups[g].channels) sum += costs[g][at(groups[g].channels - kept[g] - 1)];
  }
  return sum;
}

TEST(Usage, IsWhatACutNetworkUses) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Model dense =
        seed < 5 ? std::vector<Model>{tiny_basic(1), tiny_bottleneck(1), tiny_option_a(1), tiny_concat(1), tiny_mobile(1)}[seed]
                 : with_parameters(random_graph(seed), seed);
    const std::vector<Group> groups = find_groups(dense.graph);
    PrunePlan plan = random_plan(dense, seed);
    plan.weights.clear();
    const Model cut = apply(dense, plan, host_resource());
    const std::vector<int64_t> kept = kept_in(groups, plan);
    // Products and quotients of small whole numbers: far less than one MAC off.
    EXPECT_NEAR(usage_of(groups, dense.graph, BudgetUnit::kMacs, kept), static_cast<double>(macs(cut.graph)), 1e-6) << seed;
    EXPECT_NEAR(usage_of(groups, dense.graph, BudgetUnit::kParameters, kept), static_cast<double>(parameter_count(cut)), 1e-6)
        << seed;
  }
}

TEST(Spend, NothingMoreFitsTheBudget) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Graph graph = seed < 4 ? std::vector<Graph>{tiny_basic(1).graph, tiny_bottleneck(1).graph, tiny_option_a(1).graph,
                                                      tiny_resnext(1).graph}[seed]
                                 : random_graph(seed);
    const std::vector<Group> groups = find_groups(graph);
    const std::vector<std::vector<double>> costs = random_costs(groups, seed);
    std::vector<int64_t> all;
    for (const Group& group : groups) all.push_back(group.channels);
    for (const BudgetUnit unit : {BudgetUnit::kMacs, BudgetUnit::kParameters}) {
      const double dense = usage_of(groups, graph, unit, all);
      for (const Scope scope : {Scope::kLayer, Scope::kGlobal, Scope::kMacs}) {
        for (const double share : {0.8, 0.6}) {
          ChannelTarget target;
          target.scope = scope;
          target.budget = Budget{unit, share * dense};
          const std::string where = "seed " + std::to_string(seed) + " " + name_of(scope) + " " + name_of(unit);
          PrunePlan plan;
          try {
            plan = select_channels(groups, costs, graph, target);
          } catch (const UsageError&) {
            continue;  // a random graph can have too little to cut
          }
          std::vector<int64_t> kept = kept_in(groups, plan);
          EXPECT_LE(usage_of(groups, graph, unit, kept), share * dense * (1 + 1e-12)) << where;
          for (size_t g = 0; g < groups.size(); ++g) {
            const std::vector<int64_t> counts = ladder(groups[g], 0);
            const int64_t now = kept[g];
            EXPECT_NE(std::find(counts.begin(), counts.end(), now), counts.end()) << where;
            for (const int64_t more : counts) {
              if (more <= now) continue;
              kept[g] = more;
              EXPECT_GT(usage_of(groups, graph, unit, kept), share * dense) << where << ", group " << groups[g].name;
            }
            kept[g] = now;
          }
        }
      }
    }
  }
}

TEST(Spend, WithinHalfAPercentOnRealNetworks) {
  for (const char* arch : {"resnet18", "resnet50", "cifar_resnet20", "cifar_resnet56"}) {
    const Graph graph = build_resnet(resnet_spec(arch));
    const std::vector<Group> groups = find_groups(graph);
    const std::vector<std::vector<double>> costs = random_costs(groups, 7, 2);
    for (const Scope scope : {Scope::kLayer, Scope::kGlobal, Scope::kMacs}) {
      for (const double share : {0.9, 0.7, 0.5, 0.3}) {
        ChannelTarget target;
        target.scope = scope;
        const double limit = share * static_cast<double>(macs(graph));
        target.budget = Budget{BudgetUnit::kMacs, limit};
        const double left =
            usage_of(groups, graph, BudgetUnit::kMacs, kept_in(groups, select_channels(groups, costs, graph, target)));
        EXPECT_LE(left, limit) << arch;
        // The least cost may leave more: in a deep network one channel of a stage's residual group is 2 % of all MACs.
        EXPECT_GE(left, (scope == Scope::kMacs ? 0.975 : 0.995) * limit) << arch << " " << name_of(scope) << " " << share;
      }
    }
  }
}

TEST(SelectByCost, NeverCostsMoreThanEqualShares) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    const Graph graph = random_graph(seed);
    const std::vector<Group> groups = find_groups(graph);
    const std::vector<std::vector<double>> costs = random_costs(groups, seed);
    for (const double share : {0.2, 0.5, 0.8}) {
      ChannelTarget target;
      target.share = share;
      const std::vector<int64_t> equal = kept_in(groups, select_channels(groups, costs, graph, target));
      target.scope = Scope::kMacs;
      const std::vector<int64_t> chosen = kept_in(groups, select_channels(groups, costs, graph, target));
      EXPECT_LE(total_cost(groups, costs, chosen), total_cost(groups, costs, equal) * (1 + 1e-12)) << seed << " " << share;
    }
  }
}

/// All counts are tried. The search is no proof of the least cost: it misses it once in these eighty cases, by 4.6 %.
TEST(SelectByCost, IsTheLeastCostOfAllCounts) {
  const Graph graph = chain();
  const std::vector<Group> groups = find_groups(graph);
  int found = 0, tried = 0;
  double worst = 1;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const std::vector<std::vector<double>> costs = random_costs(groups, seed, seed % 2 == 0 ? 0 : 2);
    for (const double share : {0.7, 0.4}) {
      ChannelTarget target;
      target.scope = Scope::kMacs;
      target.budget = Budget{BudgetUnit::kMacs, share * static_cast<double>(macs(graph))};
      const double mine = total_cost(groups, costs, kept_in(groups, select_channels(groups, costs, graph, target)));
      double least = std::numeric_limits<double>::infinity();
      std::vector<int64_t> kept;
      for (const Group& group : groups) kept.push_back(group.channels);
      const std::function<void(size_t)> every = [&](size_t g) {
        if (g == groups.size()) {
          if (usage_of(groups, graph, BudgetUnit::kMacs, kept) <= target.budget->limit)
            least = std::min(least, total_cost(groups, costs, kept));
          return;
        }
        for (const int64_t count : ladder(groups[g], 0)) {
          kept[g] = count;
          every(g + 1);
        }
      };
      every(0);
      ++tried;
      found += mine <= least * (1 + 1e-9) ? 1 : 0;
      worst = std::max(worst, mine / least);
    }
  }
  EXPECT_GE(found, tried - 1);
  EXPECT_LE(worst, 1.05);
}

TEST(Spend, ABudgetThatCannotBeReachedIsRefused) {
  const Graph graph = chain();
  const std::vector<Group> groups = find_groups(graph);
  const std::vector<std::vector<double>> costs = random_costs(groups, 1);
  for (const double limit : {1.0, 0.0, -5.0, std::numeric_limits<double>::quiet_NaN()}) {
    for (const Scope scope : {Scope::kLayer, Scope::kGlobal, Scope::kMacs}) {
      ChannelTarget target;
      target.scope = scope;
      target.budget = Budget{BudgetUnit::kMacs, limit};
      EXPECT_THROW((void)select_channels(groups, costs, graph, target), UsageError) << limit;
    }
  }
}

TEST(SelectByCost, TakesWhereMacsAreCheapest) {
  const Graph graph = chain();
  const std::vector<Group> groups = find_groups(graph);
  std::vector<std::vector<double>> costs(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].prunable) costs[g] = rising(groups[g].channels, groups[g].name == "b.relu" ? 0.001 : 1.0);
  }
  ChannelTarget target;
  target.share = 0.25;
  target.scope = Scope::kMacs;
  const PrunePlan plan = select_channels(groups, costs, graph, target);
  ASSERT_EQ(plan.groups.size(), 1u);  // b alone is enough
  EXPECT_EQ(plan.groups[0].group, "b.relu");
  EXPECT_NE(plan.target.find("scope=macs"), std::string::npos);
  // Equal shares leave 4*12 + 12*12 + 12*6 = 264 (x 36) + 18 MACs; a and c whole and b kept k: 4*16 + 16k + 8k, + 24.
  EXPECT_EQ(std::ssize(plan.groups[0].keep), 8);
  std::vector<int64_t> first(8);
  std::iota(first.begin(), first.end(), 0);
  EXPECT_EQ(plan.groups[0].keep, first);  // the last channels were the cheapest
}

TEST(SelectByCost, MeetsTheMacsOfEqualSharesAndNothingMore) {
  for (uint64_t seed = 0; seed < 40; ++seed) {
    const Graph graph = seed < 4 ? std::vector<Graph>{tiny_basic(1).graph, tiny_bottleneck(1).graph, tiny_option_a(1).graph,
                                                      tiny_resnext(1).graph}[seed]
                                 : random_graph(seed);
    const std::vector<Group> groups = find_groups(graph);
    Random random(seed);
    std::vector<std::vector<double>> costs(groups.size());
    for (size_t g = 0; g < groups.size(); ++g) {
      double total = 0;
      for (int64_t c = 0; groups[g].prunable && c < groups[g].channels; ++c) costs[g].push_back(total += random.uniform());
    }
    for (const double share : {0.2, 0.5, 0.8}) {
      ChannelTarget target;
      target.share = share;
      const double wanted =
          usage_of(groups, graph, BudgetUnit::kMacs, kept_in(groups, select_channels(groups, costs, graph, target)));
      target.scope = Scope::kMacs;
      const PrunePlan plan = select_channels(groups, costs, graph, target);
      const std::vector<int64_t> kept = kept_in(groups, plan);
      bool all_at_the_end = true;
      for (size_t g = 0; g < groups.size(); ++g) {
        const int64_t step = kept_step(groups[g].channels, groups[g].conv_groups, target.round_to);
        EXPECT_GE(kept[g], 1) << groups[g].name << " seed " << seed;
        EXPECT_EQ(kept[g] == groups[g].channels ? 0 : kept[g] % step, 0) << groups[g].name << " seed " << seed;
        all_at_the_end = all_at_the_end && (!groups[g].prunable || kept[g] <= step);
      }
      EXPECT_TRUE(usage_of(groups, graph, BudgetUnit::kMacs, kept) <= wanted || all_at_the_end)
          << "seed " << seed << " share " << share;
    }
  }
}

TEST(SelectByCost, LeavesGroupsWithTheirOwnShareAlone) {
  const Graph graph = chain();
  const std::vector<Group> groups = find_groups(graph);
  std::vector<std::vector<double>> costs(groups.size());
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].prunable) costs[g] = rising(groups[g].channels, 1.0);
  }
  ChannelTarget target;
  target.share = 0.5;
  target.scope = Scope::kMacs;
  target.ignore = {"a"};
  target.overrides = {{"c", 0.25}};
  const PrunePlan plan = select_channels(groups, costs, graph, target);
  const std::vector<int64_t> kept = kept_in(groups, plan);
  EXPECT_EQ(kept[find_group(graph, groups, "a")], 16);
  EXPECT_EQ(kept[find_group(graph, groups, "c")], 6);
  EXPECT_EQ(kept[find_group(graph, groups, "b")], 8);  // all that is left to choose: as many MACs as its own half
}

}  // namespace
}  // namespace elek::test
