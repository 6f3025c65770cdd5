// SPDX-License-Identifier: Apache-2.0
// Rounds: the target of each, that their composition is the two cuts one after the other, and that n rounds end at the counts
// of one cut.
#include "prune/steps.h"

#include <gmock/gmock.h>

#include <cmath>
#include <map>

#include "core/error.h"
#include "prune/apply.h"
#include "prune/score.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

using ::testing::ElementsAre;

/// Cuts in `steps` rounds by magnitude, each scoring what the last one left; checks compose() on the way.
PrunePlan in_rounds(const Model& dense, const ChannelTarget& target, int steps) {
  PrunePlan all;
  Model now = dense;
  for (int step = 1; step <= steps; ++step) {
    const std::vector<Group> groups = find_groups(now.graph);
    const auto scores = score_channels(now, groups, find_criterion("magnitude"), {}, 0);
    const PrunePlan plan = select_channels(groups, scores, now.graph, step_target(dense.graph, all, target, step, steps));
    now = apply(now, plan, host_resource());
    all = compose(all, plan);
    EXPECT_EQ(hash(apply(dense, all, host_resource())), hash(now)) << "step " << step << " of " << steps;
  }
  return all;
}

std::map<std::string, int64_t> kept(const PrunePlan& plan) {
  std::map<std::string, int64_t> counts;
  for (const GroupCut& cut : plan.groups) counts[cut.group] = std::ssize(cut.keep);
  return counts;
}

TEST(Steps, EndWhereOneCutDoes) {
  ResNetSpec wide = resnet_spec("cifar_resnet20");
  wide.widths = {24, 64, 72};  // rounding to 8 in the later groups
  const Model wide_model = with_parameters(build_resnet(wide), 3);
  for (const Model& dense : {tiny_basic(1), tiny_bottleneck(2), tiny_option_a(3), tiny_resnext(4), wide_model}) {
    const std::vector<Group> groups = find_groups(dense.graph);
    const auto scores = score_channels(dense, groups, find_criterion("magnitude"), {}, 0);
    for (const int64_t round_to : {0, 1, 8}) {
      const ChannelTarget target{0.45, Scope::kLayer, round_to, {"layer2.0"}, {{"relu", 0.7}}};
      const auto once = kept(select_channels(groups, scores, dense.graph, target));
      for (const int steps : {1, 2, 3, 7}) EXPECT_EQ(kept(in_rounds(dense, target, steps)), once) << steps;
    }
  }
}

TEST(Steps, AGlobalTargetIsReachedInAll) {
  for (const Model& dense : {tiny_basic(1), tiny_bottleneck(2), tiny_option_a(3)}) {
    const ChannelTarget target{0.4, Scope::kGlobal, 1, {}, {}};
    int64_t channels = 0;
    for (const Group& group : find_groups(dense.graph)) channels += group.prunable ? group.channels : 0;
    for (const int steps : {1, 2, 5}) {
      int64_t removed = 0;
      for (const GroupCut& cut : in_rounds(dense, target, steps).groups) removed += cut.channels - std::ssize(cut.keep);
      EXPECT_EQ(removed, std::llround(0.4 * static_cast<double>(channels))) << steps;
    }
  }
}

TEST(Steps, ABudgetOfMacsIsPartOfWhatEqualSharesLeave) {
  const Model dense = tiny_basic(1);
  const std::vector<Group> groups = find_groups(dense.graph);
  const auto left_by = [&](double share) {  // equal shares, to the channel
    const auto scores = score_channels(dense, groups, find_criterion("magnitude"), {}, 0);
    const PrunePlan plan = select_channels(groups, scores, dense.graph, {share, Scope::kLayer, 1, {}, {}});
    return static_cast<double>(macs(apply(dense, plan, host_resource()).graph));
  };
  const ChannelTarget target{0.5, Scope::kMacs, 1, {}, {}};
  const double rounding = 1e-9;  // shares are quotients, MACs whole numbers
  EXPECT_NEAR(step_target(dense.graph, {}, target, 1, 2).budget.value().limit / left_by(0.25), 1, rounding);
  EXPECT_NEAR(step_target(dense.graph, {}, target, 2, 2).budget.value().limit / left_by(0.5), 1, rounding);
  EXPECT_LT(left_by(0.5), left_by(0.25));
  // Whatever the rounds removed before, the last one ends within the budget. With costs as scores one cut does too.
  for (const int steps : {1, 2, 3}) {
    const PrunePlan plan = in_rounds(dense, target, steps);
    EXPECT_LE(static_cast<double>(macs(apply(dense, plan, host_resource()).graph)), (1 + rounding) * left_by(0.5)) << steps;
  }
}

TEST(Steps, OneRoundAsksForThePartThatIsDue) {
  const Model dense = tiny_basic(1);  // groups of 4 and 6
  const ChannelTarget target{0.5, Scope::kLayer, 0, {}, {}};
  PrunePlan none;
  EXPECT_EQ(step_target(dense.graph, none, target, 1, 2).overrides.at("layer2.0"), 2.0 / 6);  // round(0.25 * 6) of 6
  PrunePlan some;
  some.groups.push_back({"layer2.0", 6, {0, 2, 3, 5}, {}});
  EXPECT_EQ(step_target(dense.graph, some, target, 2, 2).overrides.at("layer2.0"), 1.0 / 4);  // of 4 one more
  EXPECT_EQ(step_target(WeightTarget{0.6, 0, 0, Compare::kOutput, {}}, 1, 3).sparsity, 0.6 / 3);
  EXPECT_THROW((void)step_target(WeightTarget{0, 2, 4, Compare::kOutput, {}}, 1, 3), UsageError);
  EXPECT_THROW((void)step_target(dense.graph, none, target, 3, 2), ContractError);
  EXPECT_THROW((void)step_target(dense.graph, none, target, 0, 2), ContractError);
}

TEST(Steps, ComposedPlansKeepTheDenseNumbersAndTheLastScores) {
  PrunePlan first;
  first.groups.push_back({"a", 5, {0, 2, 4}, {10, 11, 12, 13, 14}});
  first.weights.push_back({"w", {1, 0, 1, 1}, 1});
  PrunePlan second{"rms", "t", {{"a", 3, {0, 2}, {20, 21, 22}}, {"b", 2, {1}, {1, 2}}}, {{"w", {1, 1, 0, 1}, 1}}};
  const PrunePlan both = compose(first, second);
  EXPECT_EQ(both.criterion, "rms");
  ASSERT_EQ(both.groups.size(), 2U);
  EXPECT_THAT(both.groups[0].keep, ElementsAre(0, 4));
  EXPECT_THAT(both.groups[0].scores, ElementsAre(20, 11, 21, 13, 22));
  EXPECT_THAT(both.groups[1].keep, ElementsAre(1));
  ASSERT_EQ(both.weights.size(), 1U);
  EXPECT_THAT(both.weights[0].keep, ElementsAre(1, 0, 0, 1));
  EXPECT_EQ(both.weights[0].removed, 2);
  second.groups[0].channels = 4;
  EXPECT_THROW((void)compose(first, second), ContractError);
  second.groups.clear();
  second.weights[0].keep.pop_back();
  EXPECT_THROW((void)compose(first, second), ContractError);
}

}  // namespace
}  // namespace elek::test
