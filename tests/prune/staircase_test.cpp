// SPDX-License-Identifier: Apache-2.0
// Rounding to the steps of made-up times, and the effect of a rounding function on a plan.
#include "prune/staircase.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "prune/counts.h"
#include "prune/select.h"
#include "tests/support/models.h"

namespace elek {
namespace {

/// Time grows with whole vectors of 16 channels.
double stairs(int64_t width) { return 10.0 * std::ceil(static_cast<double>(width) / 16); }

TEST(NearestEdge, IsTheLastCountBeforeAStep) {
  struct Row {
    int64_t channels, slices, kept, edge;
  };
  for (const Row& row : {Row{256, 1, 70, 64}, Row{256, 1, 72, 80}, Row{256, 1, 73, 80}, Row{256, 1, 64, 64},
                         Row{256, 1, 255, 256}, Row{250, 1, 247, 250}, Row{128, 4, 70, 64}, Row{128, 4, 71, 64},
                         Row{128, 4, 126, 128}, Row{256, 1, 3, 16}, Row{64, 1, 40, 48},  // 8 channels away at most
                         Row{64, 1, 39, 32}, Row{32, 1, 24, 24}}) {                      // 4 at most: neither 16 nor 32
    EXPECT_EQ(nearest_edge(row.channels, row.slices, row.kept, stairs), row.edge)
        << row.channels << " channels, " << row.slices << " slices, " << row.kept << " kept";
  }
}

TEST(NearestEdge, IsAutoWhereTimeHasNoSteps) {
  EXPECT_EQ(nearest_edge(512, 1, 301, [](int64_t width) { return 100 + static_cast<double>(width); }), 304);
  EXPECT_EQ(nearest_edge(48, 1, 31, [](int64_t) { return 7.0; }), 31) << "auto is the exact count below 64 channels";
  EXPECT_EQ(nearest_edge(512, 512 / 32, 301, [](int64_t) { return 7.0; }), 304) << "to whole slices all the same";
  EXPECT_EQ(nearest_edge(512, 1, 301, [](int64_t width) { return width % 2 == 0 ? 100 : 108.0; }), 304) << "noise is no step";
  EXPECT_THROW((void)nearest_edge(512, 7, 301, stairs), ContractError);
  EXPECT_THROW((void)nearest_edge(512, 1, 0, stairs), ContractError);
}

TEST(Rounding, ByAFunctionDecidesTheCountsAndIsSaid) {
  const Graph graph = test::tiny_graph();
  const std::vector<Group> groups = find_groups(graph);
  std::vector<std::vector<double>> scores;
  for (const Group& group : groups) {
    scores.emplace_back();
    for (int64_t c = 0; c < group.channels; ++c) scores.back().push_back(static_cast<double>(c));
  }
  ChannelTarget target{0.5, Scope::kLayer, 0, {}, {}};
  target.round = [](const Graph&, const Group& group, int64_t kept) { return std::min(group.channels, kept + 2); };
  const PrunePlan plan = select_channels(groups, scores, graph, target);
  EXPECT_EQ(plan.target, "channels=0.5 scope=layer round-to=measured");
  ASSERT_FALSE(plan.groups.empty());
  for (const GroupCut& cut : plan.groups) {
    const int64_t kept = cut.channels - std::llround(0.5 * static_cast<double>(cut.channels));
    EXPECT_EQ(std::ssize(cut.keep), kept + 2) << cut.group;
  }
  target.scope = Scope::kMacs;
  const PrunePlan rounded = select_channels(groups, scores, graph, target);
  target.round = nullptr;
  const PrunePlan budget = select_channels(groups, scores, graph, target);
  ASSERT_FALSE(budget.groups.empty());
  for (const GroupCut& cut : budget.groups) {  // what the budget gave, then rounded; what it left whole stays whole
    const auto same = std::find_if(rounded.groups.begin(), rounded.groups.end(),
                                   [&](const GroupCut& other) { return other.group == cut.group; });
    const int64_t kept = same == rounded.groups.end() ? cut.channels : std::ssize(same->keep);
    EXPECT_EQ(kept, std::min(cut.channels, std::ssize(cut.keep) + 2)) << cut.group;
  }
  target.scope = Scope::kLayer;
  target.round = [](const Graph&, const Group& group, int64_t) { return group.channels + 1; };
  EXPECT_THROW((void)select_channels(groups, scores, graph, target), ContractError);
}

}  // namespace
}  // namespace elek
