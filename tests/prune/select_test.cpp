// SPDX-License-Identifier: Apache-2.0
// Selection of channels: counts from a table, properties of the choice, messages of refusals.
#include "prune/select.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/error.h"
#include "core/runtime.h"
#include "prune/counts.h"
#include "prune/early_checks.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(KeptCount, RoundingTable) {
  struct Row {
    int64_t channels, removed, slices, round_to, kept;
  };
  const std::vector<Row> table = {
      {16, 5, 1, 0, 11},     {63, 19, 1, 0, 44},     // auto below 64: the exact count
      {64, 19, 1, 0, 48},    {64, 20, 1, 0, 48},     // 45 and 44: nearest multiple of 8, the tie goes up
      {64, 21, 1, 0, 40},    {64, 3, 1, 0, 64},      // 43; 61 rounds to the whole group
      {64, 63, 1, 0, 8},     {100, 2, 1, 0, 96},     // never below one multiple; 98 -> 96
      {100, 1, 1, 0, 96},    {100, 0, 1, 0, 100},    // 99 is nearer to 96 than to 104; nothing removed stays
      {512, 154, 1, 0, 360}, {64, 19, 1, 1, 45},     // 358; a number overrules: 1 is exact
      {16, 5, 1, 8, 8},      {16, 4, 1, 8, 16},      // 11 -> 8; 12 is a tie and goes up
      {16, 15, 1, 8, 8},     {4, 2, 1, 8, 4},        // at least one multiple; a group smaller than that stays whole
      {128, 38, 32, 0, 96},  {128, 115, 32, 0, 32},  // ResNeXt: 90 -> a multiple of 32 = lcm(8, 32)
      {12, 4, 3, 0, 9},      {12, 11, 3, 0, 3},      // 8 -> 9 in three convolution groups; each keeps one
      {66, 30, 3, 0, 48},    {12, 4, 3, 4, 12},      // 36 -> lcm(8, 3) = 24, tie up; lcm(4, 3) = 12 keeps all
      {65, 10, 13, 0, 52},                           // lcm(8, 13) > 65: auto gives up on 8, 55 -> 52
  };
  for (const Row& row : table) {
    EXPECT_EQ(kept_count(row.channels, row.removed, row.slices, row.round_to), row.kept)
        << row.channels << " channels, " << row.removed << " removed, " << row.slices << " slices, round to " << row.round_to;
  }
  EXPECT_THROW((void)kept_count(10, 3, 4, 0), ContractError);
}

struct Fixture {
  Graph graph;
  std::vector<Group> groups;
  std::vector<std::vector<double>> scores;
};

Fixture fixture(Graph graph, uint64_t seed) {
  std::vector<Group> groups = find_groups(graph);
  std::vector<std::vector<double>> scores;
  Random random(seed);
  for (const Group& group : groups) {
    scores.emplace_back();
    for (int64_t c = 0; group.prunable && c < group.channels; ++c)
      scores.back().push_back(static_cast<double>(random.below(9)));
  }
  return {std::move(graph), std::move(groups), std::move(scores)};
}

PrunePlan select(const Fixture& f, const ChannelTarget& target) { return select_channels(f.groups, f.scores, f.graph, target); }

TEST(SelectChannels, LowestGoFirstTiesByIndex) {
  Fixture f = fixture(tiny_basic(1).graph, 1);
  for (size_t g = 0; g < f.groups.size(); ++g) {
    if (f.groups[g].name == "relu") f.scores[g] = {2, 1, 1, 1};
    if (f.groups[g].name == "layer2.0") f.scores[g] = {5, 0, 3, 0, 4, 9};
  }
  const PrunePlan plan = select(f, {0.5, Scope::kLayer, 0, {}, {}});
  EXPECT_EQ(plan.target, "channels=0.5 scope=layer round-to=auto");
  for (const GroupCut& cut : plan.groups) {
    if (cut.group == "relu") {
      EXPECT_THAT(cut.keep, ElementsAre(0, 3));
    }  // of the three 1s, the first two go
    if (cut.group == "layer2.0") {
      EXPECT_THAT(cut.keep, ElementsAre(0, 4, 5));
    }  // 0, 0, 3 go
  }
  EXPECT_EQ(plan.groups.size(), 5U);
}

TEST(SelectChannels, PropertiesHoldOnEveryNetworkAndShare) {
  for (const char* arch : {"resnet18", "resnet50", "cifar_resnet20", "resnext50_32x4d"}) {
    const Fixture f = fixture(build_resnet(resnet_spec(arch)), 4);
    for (const double share : {0.1, 0.3, 0.5, 0.9, 0.999}) {
      for (const Scope scope : {Scope::kLayer, Scope::kGlobal}) {
        const PrunePlan plan = select(f, {share, scope, 0, {}, {}});
        EXPECT_FALSE(plan.removes_nothing()) << arch << share;
        for (const GroupCut& cut : plan.groups) {
          const Group& group = group_named(f.groups, cut.group);
          const int64_t kept = std::ssize(cut.keep);
          ASSERT_GE(kept, group.conv_groups);
          EXPECT_LT(kept, group.channels);
          if (group.channels >= 64) {
            EXPECT_EQ(kept % 8, 0) << cut.group;
          }
          const int64_t width = group.channels / group.conv_groups;
          std::vector<int64_t> in_slice(static_cast<size_t>(group.conv_groups), 0);
          for (const int64_t c : cut.keep) ++in_slice[static_cast<size_t>(c / width)];
          EXPECT_THAT(in_slice, testing::Each(kept / group.conv_groups)) << cut.group;
          // In a convolution group no removed channel scores higher than a kept one.
          const std::set<int64_t> keep(cut.keep.begin(), cut.keep.end());
          for (int64_t slice = 0; slice < group.conv_groups; ++slice) {
            double lowest_kept = std::numeric_limits<double>::infinity(), highest_gone = -1;
            for (int64_t c = slice * width; c < (slice + 1) * width; ++c) {
              double& bound = keep.count(c) != 0 ? lowest_kept : highest_gone;
              const double score = cut.scores[static_cast<size_t>(c)];
              bound = keep.count(c) != 0 ? std::min(bound, score) : std::max(bound, score);
            }
            EXPECT_LE(highest_gone, lowest_kept) << cut.group;
          }
          if (scope == Scope::kLayer) {
            const int64_t removed = std::llround(share * static_cast<double>(group.channels));
            EXPECT_EQ(kept, kept_count(group.channels, removed, group.conv_groups, 0)) << cut.group;
          }
        }
      }
    }
  }
}

TEST(SelectChannels, GlobalScopeComparesAcrossGroups) {
  Fixture f = fixture(tiny_basic(1).graph, 1);
  int64_t total = 0;
  for (size_t g = 0; g < f.groups.size(); ++g) {
    if (!f.groups[g].prunable) continue;
    total += f.groups[g].channels;
    // All channels of a group have the same score, except that channel 1 (and in the last group also 2) has a tenth of it. The
    // scale of each group differs by a factor of a thousand and must not matter.
    f.scores[g].assign(f.scores[g].size(), std::pow(1000.0, static_cast<double>(g)));
    f.scores[g][1] /= 10;
    if (f.groups[g].name == "layer2.0.relu1") f.scores[g][2] /= 10;
  }
  const double share = 6.0 / static_cast<double>(total);
  const PrunePlan plan = select(f, {share, Scope::kGlobal, 0, {}, {}});
  ASSERT_EQ(plan.groups.size(), 5U);
  for (const GroupCut& cut : plan.groups) {
    EXPECT_EQ(cut.channels - std::ssize(cut.keep), cut.group == "layer2.0.relu1" ? 2 : 1) << cut.group;
    EXPECT_EQ(std::count(cut.keep.begin(), cut.keep.end(), 1), 0);
  }
}

TEST(SelectChannels, GlobalScopeNeverEmptiesAGroup) {
  Fixture f = fixture(tiny_basic(1).graph, 1);
  for (size_t g = 0; g < f.groups.size(); ++g) {
    if (f.groups[g].name == "relu") f.scores[g] = {0, 0, 0, 0};  // does nothing at all
  }
  const PrunePlan plan = select(f, {0.5, Scope::kGlobal, 0, {}, {}});
  const auto cut = std::find_if(plan.groups.begin(), plan.groups.end(), [](const GroupCut& c) { return c.group == "relu"; });
  ASSERT_NE(cut, plan.groups.end());
  EXPECT_THAT(cut->keep, ElementsAre(3));
  int64_t total = 0, removed = 0;  // what the group could not give is taken elsewhere
  for (const Group& group : f.groups) total += group.prunable ? group.channels : 0;
  for (const GroupCut& each : plan.groups) removed += each.channels - std::ssize(each.keep);
  EXPECT_EQ(removed, std::llround(0.5 * static_cast<double>(total)));
}

TEST(SelectChannels, NamesOfGroupsAndValuesAreHeeded) {
  const Fixture f = fixture(tiny_basic(1).graph, 1);
  // layer1.0.bn2 is a value of the group "relu"; layer2.0.downsample.0 of "layer2.0"; fc cannot be cut anyway.
  const ChannelTarget target{
      0.5, Scope::kLayer, 0, {"layer1.0.bn2", "layer1.0.relu1", "fc"}, {{"layer2.0.downsample.0", 0.17}}};
  const PrunePlan plan = select(f, target);
  std::map<std::string, int64_t> removed;
  for (const GroupCut& cut : plan.groups) removed[cut.group] = cut.channels - std::ssize(cut.keep);
  EXPECT_THAT(removed, ElementsAre(testing::Pair("layer1.1.relu1", 2), testing::Pair("layer2.0", 1),
                                   testing::Pair("layer2.0.relu1", 3)));
  EXPECT_EQ(plan.target,
            "channels=0.5 scope=layer round-to=auto layer=layer2.0.downsample.0=0.17 ignore=layer1.0.bn2 "
            "ignore=layer1.0.relu1 ignore=fc");
}

TEST(SelectChannels, NothingRemovedIsAnEmptyPlan) {
  const Fixture f = fixture(tiny_basic(1).graph, 1);
  EXPECT_TRUE(select(f, {0.0, Scope::kLayer, 0, {}, {}}).removes_nothing());
  EXPECT_TRUE(select(f, {0.05, Scope::kLayer, 0, {}, {}}).removes_nothing());
}

std::string complaint(const Fixture& f, const ChannelTarget& target) {
  try {
    (void)select(f, target);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "no UsageError";
}

/// What is told before the work agrees with what the plan then does, for every target that does not depend on the scores.
TEST(SelectChannels, NothingRemovedIsKnownBeforeTheScores) {
  for (const Model& model : {tiny_basic(3), tiny_resnext(3), tiny_option_a(3)}) {
    const Fixture f = fixture(model.graph, 5);
    for (const double share : {0.0, 0.01, 0.05, 0.2, 0.6}) {
      for (const int64_t round_to : {0, 1, 8, 1000}) {
        for (const Scope scope : {Scope::kLayer, Scope::kGlobal, Scope::kMacs}) {
          const ChannelTarget target{.share = share, .scope = scope, .round_to = round_to};
          const bool nothing = select_channels(f.groups, f.scores, f.graph, target).removes_nothing();
          const bool told = removes_nothing(f.groups, f.graph, target);
          EXPECT_TRUE(!told || nothing) << share << " " << round_to << " " << name_of(scope);
          if (scope == Scope::kLayer || round_to == 1000) {
            EXPECT_EQ(told, nothing) << share << " " << round_to;
          }
        }
      }
    }
  }
}

TEST(SelectChannels, NegativeScoresGoFirst) {  // the seed's normalized_mean on raw convolutions
  Fixture f = fixture(tiny_basic(1).graph, 1);
  for (size_t g = 0; g < f.groups.size(); ++g) {
    if (f.groups[g].name == "relu") f.scores[g] = {0.5, -2, 0.1, -3};
  }
  for (const Scope scope : {Scope::kLayer, Scope::kGlobal}) {
    for (const GroupCut& cut : select(f, {0.5, scope, 1, {}, {}}).groups) {
      if (cut.group == "relu") {
        EXPECT_EQ(cut.keep.front(), 0);
      }
    }
  }
  const PrunePlan plan = select(f, {0, Scope::kLayer, 1, {}, {{"relu", 0.5}}});
  ASSERT_EQ(plan.groups.size(), 1U);
  EXPECT_THAT(plan.groups[0].keep, testing::ElementsAre(0, 2));
}

TEST(SelectChannels, RefusesWhatCannotBeAsked) {
  const Fixture f = fixture(tiny_basic(1).graph, 1);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double share : {1.0, -0.1, 30.0, nan}) {
    EXPECT_THAT(complaint(f, {share, Scope::kLayer, 0, {}, {}}), HasSubstr("less than 1"));
    EXPECT_THAT(complaint(f, {0.1, Scope::kLayer, 0, {}, {{"relu", share}}}), HasSubstr("share for 'relu'"));
  }
  EXPECT_THAT(complaint(f, {0.1, Scope::kLayer, -1, {}, {}}), HasSubstr("round-to"));
  EXPECT_THAT(complaint(f, {0.1, Scope::kLayer, 0, {"layer9"}, {}}), HasSubstr("'layer9'"));
  EXPECT_THAT(complaint(f, {0.1, Scope::kLayer, 0, {}, {{"layer9", 0.2}}}), HasSubstr("'layer9'"));
  EXPECT_THAT(complaint(f, {0.1, Scope::kLayer, 0, {}, {{"fc", 0.2}}}), HasSubstr("cannot be cut"));
  EXPECT_THAT(complaint(f, {0.1, Scope::kLayer, 0, {}, {{"relu", 0.2}, {"conv1", 0.3}}}), HasSubstr("are in one group"));
  EXPECT_THAT(complaint(f, {0.1, Scope::kLayer, 0, {"conv1"}, {{"relu", 0.2}}}), HasSubstr("has a share"));
  Fixture broken = f;
  for (auto& scores : broken.scores) {
    if (!scores.empty()) scores[0] = nan;
  }
  EXPECT_THROW((void)select(broken, {0.1, Scope::kLayer, 0, {}, {}}), ContractError);
}

TEST(ShareText, ReadsAsTyped) {
  EXPECT_EQ(share_text(0.3), "0.3");
  EXPECT_EQ(share_text(0.05), "0.05");
  EXPECT_EQ(share_text(0), "0");
}

}  // namespace
}  // namespace elek::test
