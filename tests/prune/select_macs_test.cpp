// SPDX-License-Identifier: Apache-2.0
// Shares by cost: removes as many MACs as equal shares would, where they cost least. Also what no choice may violate.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "core/at.h"
#include "core/runtime.h"
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

TEST(ShareForMacs, IsTheLeastThatLeavesNoMore) {
  for (const char* arch : {"resnet50", "cifar_resnet20"}) {
    const Graph graph = build_resnet(resnet_spec(arch));
    const std::vector<Group> groups = find_groups(graph);
    const auto dense = static_cast<double>(macs(graph));
    for (const int64_t round_to : {0, 1}) {
      for (const double kept : {0.9, 0.5, 0.07}) {
        ChannelTarget target;
        target.round_to = round_to;
        target.ignore = {"conv1"};
        target.share = 0.123;  // not looked at
        target.share = share_for_macs(groups, graph, target, kept * dense);
        EXPECT_LE(macs_of_equal_shares(groups, graph, target), kept * dense) << arch << " " << kept;
        target.share -= 0.001;
        EXPECT_GT(macs_of_equal_shares(groups, graph, target), kept * dense) << arch << " " << kept;
      }
    }
    EXPECT_EQ(share_for_macs(groups, graph, {}, dense), 0);
    EXPECT_THROW((void)share_for_macs(groups, graph, {}, 1e-6 * dense), UsageError) << "no group goes below one step";
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
      const double wanted = macs_with(groups, graph, kept_in(groups, select_channels(groups, costs, graph, target)));
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
      EXPECT_TRUE(macs_with(groups, graph, kept) <= wanted || all_at_the_end) << "seed " << seed << " share " << share;
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
