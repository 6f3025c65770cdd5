// SPDX-License-Identifier: Apache-2.0
// Cutting networks with every activation: the compact network equals the masked one to the last bit in the double interpreter,
// also where an activation makes something else than 0 of 0.
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
    EXPECT_THAT(names(model.graph, group_named(groups, "hidden.act").taps), testing::ElementsAre("hidden.act")) << op_name(act);
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

}  // namespace
}  // namespace elek::test
