// SPDX-License-Identifier: Apache-2.0
// Cutting networks with every activation and with squeeze-and-excitation: the compact network equals the masked one to the last
// bit in the double interpreter, even if an activation of 0 is not 0.
#include <gmock/gmock.h>

#include "prune/apply.h"
#include "prune/groups.h"
#include "tests/golden/session_support.h"
#include "tests/prune/networks.h"
#include "tests/support/activation.h"
#include "tests/support/compare.h"

namespace elek::test {
namespace {

TEST(Activations, AreWhereGroupsAreWatched) {
  for (const Attrs& act : other_activations()) {
    const Model model = activation_model(act);
    const std::vector<Group> groups = find_groups(model.graph);
    EXPECT_THAT(names(model.graph, group_named(groups, "hidden.act").watched), testing::ElementsAre("hidden.act"))
        << op_name(act);
  }
}

TEST(Activations, ACutNetworkEqualsTheMaskedOne) {
  for (const Attrs& act : other_activations()) {
    for (const uint64_t seed : {1, 2, 3}) {
      SCOPED_TRACE(std::string(op_name(act)) + " " + std::to_string(seed));
      const Model model = activation_model(act);
      const PrunePlan plan = random_plan(model, seed);
      ASSERT_FALSE(plan.groups.empty());
      const std::vector<float> input = random_input(model.graph, 2, seed);
      const auto compact = run_reference_nchw(apply(model, plan, host_resource()), input, 2).logits();
      const auto zeroed = run_reference_nchw(masked(model, plan, host_resource()), input, 2).logits();
      EXPECT_EQ(compact, zeroed);
      EXPECT_NE(compact, run_reference_nchw(model, input, 2).logits()) << "nothing was cut";
    }
  }
}

/// Squeeze-and-excitation ties: a channel, its mean, its factor and its product go together.
TEST(ChannelScale, TiesItsInputsAndOutput) {
  const Model model = squeeze_model();
  const std::vector<Group> groups = find_groups(model.graph);
  const Group& first = group_named(groups, "stem.relu");
  EXPECT_THAT(names(model.graph, first.values),
              testing::ElementsAre("stem", "stem.bn", "stem.relu", "squeeze", "expand", "gate", "scaled"));
  EXPECT_THAT(names(model.graph, first.producers), testing::ElementsAre("stem", "expand"));
  EXPECT_TRUE(first.prunable);
  for (const uint64_t seed : {1, 2, 3}) {
    const PrunePlan plan = random_plan(model, seed);
    const std::vector<float> input = random_input(model.graph, 2, seed);
    const Model compact = apply(model, plan, host_resource());
    EXPECT_LT(macs(compact.graph), macs(model.graph));
    EXPECT_EQ(run_reference_nchw(compact, input, 2).logits(),
              run_reference_nchw(masked(model, plan, host_resource()), input, 2).logits());
  }
}

}  // namespace
}  // namespace elek::test
