// SPDX-License-Identifier: Apache-2.0
// The check that every cut makes, with real sessions: it passes for every exact cut and fails for a wrong one.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "core/error.h"
#include "prune/apply.h"
#include "prune/score.h"
#include "tests/golden/window_models.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using testing::HasSubstr;

SessionOptions options(int64_t batch) {
  SessionOptions made;
  made.batch = batch;
  return made;
}

ArraySource source_for(const Model& model, int64_t samples) {
  return {tiny_pixels(model.graph.input_shape(), samples, 3), samples};
}

std::vector<Model> models() {
  TinyOptions pooled;
  pooled.max_pool = true;
  TinyOptions plain;
  plain.seed = 4;
  Model mobile = tiny_mobile(1);
  mobile.parameters = tiny_parameters(mobile.graph, 29);
  return {tiny_resnet(plain),
          tiny_resnet(tiny_bottleneck_options()),
          tiny_resnet(tiny_integer_options()),
          tiny_resnet(pooled),
          concat_model(),
          mobile};
}

TEST(Equivalence, HoldsForEveryExactCut) {
  for (const Model& dense : models()) {
    for (uint64_t seed = 0; seed < 4; ++seed) {
      const PrunePlan plan = random_plan(dense, seed);
      ASSERT_FALSE(plan.groups.empty());
      const Model compact = apply(dense, plan, host_resource());
      ArraySource source = source_for(dense, 9);
      const Equivalence found = check_equivalence(compact, masked(dense, plan, host_resource()), source, options(4));
      EXPECT_LE(found.difference, found.bound);
      EXPECT_GT(found.bound, 0.0);
      EXPECT_EQ(found.samples, 4);  // one batch
      EXPECT_FALSE(source.running());
    }
  }
}

/// apply_test.cpp tests 400 graphs in double. This tests some of them with sessions: grouped, depthwise, mapped and flattened
/// channels of odd counts in the kernels' layouts.
TEST(Equivalence, HoldsOnRandomResidualGraphs) {
  int64_t cut = 0;
  for (uint64_t seed = 1; seed <= 120; ++seed) {
    const Model dense = with_parameters(random_graph(seed), seed);
    const PrunePlan plan = random_plan(dense, seed);
    cut += std::ssize(plan.groups);
    ArraySource source = source_for(dense, 3);
    const Model compact = apply(dense, plan, host_resource());
    EXPECT_NO_THROW((void)check_equivalence(compact, masked(dense, plan, host_resource()), source, options(3)))
        << "random graph of seed " << seed;
  }
  EXPECT_GT(cut, 120);
}

TEST(Equivalence, HoldsForWholeNetworksAtAShare) {
  for (const char* arch : {"resnet18", "resnext50_32x4d", "cifar_resnet20"}) {
    ResNetSpec spec = resnet_spec(arch);
    spec.input = {3, 32, 32};
    spec.classes = 10;
    Model dense;
    dense.graph = build_resnet(spec);
    dense.parameters = random_parameters(dense.graph, 6, host_resource());
    dense.preprocessing = default_preprocessing(3);
    const std::vector<Group> groups = find_groups(dense.graph);
    const auto scores = score_channels(dense, groups, find_criterion("magnitude"), {}, 0);
    const PrunePlan plan = select_channels(groups, scores, dense.graph, {0.3, Scope::kLayer, 0, {}, {}});
    ArraySource source = source_for(dense, 3);
    const Equivalence found =
        check_equivalence(apply(dense, plan, host_resource()), masked(dense, plan, host_resource()), source, options(3));
    EXPECT_LE(found.difference, found.bound) << arch;
    RecordProperty(std::string("ratio_") + arch, std::to_string(found.difference / found.bound));
  }
}

std::string complaint(const Model& compact, const Model& mask) {
  ArraySource source = source_for(mask, 4);
  try {
    (void)check_equivalence(compact, mask, source, options(4));
  } catch (const ContractError& error) {
    EXPECT_FALSE(source.running());
    return error.what();
  }
  return "no ContractError";
}

TEST(Equivalence, FailsForACutThatIsNotExact) {
  const Model dense = tiny_resnet(TinyOptions{});
  PrunePlan plan = random_plan(dense, 1);
  plan.weights.clear();
  const Model mask = masked(dense, plan, host_resource());
  EXPECT_EQ(complaint(apply(dense, plan, host_resource()), mask), "no ContractError");
  for (size_t g = 0; g < plan.groups.size(); ++g) {  // one channel taken for its neighbour, in any one group
    PrunePlan other = plan;
    std::vector<int64_t>& keep = other.groups[g].keep;
    const Group& group = group_named(find_groups(dense.graph), plan.groups[g].group);
    if (group.conv_groups > 1) continue;
    for (int64_t c = 0; c < group.channels; ++c) {
      if (std::count(keep.begin(), keep.end(), c) == 0) {
        keep[0] = c;
        break;
      }
    }
    std::sort(keep.begin(), keep.end());
    EXPECT_THAT(complaint(apply(dense, other, host_resource()), mask),
                HasSubstr("the cut network differs from the masked network"))
        << group.name;
  }
}

TEST(Equivalence, NanIsADifference) {
  const Model dense = tiny_resnet(TinyOptions{});
  const PrunePlan plan = random_plan(dense, 1);
  Model compact = apply(dense, plan, host_resource());
  auto bias = std::make_shared<Tensor>(compact.parameter("fc.bias").clone(host_resource(), "fc.bias"));
  bias->f32()[1] = std::numeric_limits<float>::quiet_NaN();
  compact.parameters["fc.bias"] = bias;
  EXPECT_THAT(complaint(compact, masked(dense, plan, host_resource())),
              HasSubstr("the cut network differs from the masked network"));
}

TEST(Equivalence, BoundFollowsItsFormula) {
  const Graph graph = depthwise_and_flatten(1).graph;  // terms: 2 + 9 + 6 + 64 + 5
  EXPECT_DOUBLE_EQ(equivalence_bound(graph, 3.0), kEquivalenceSafety * 0x1p-23 * std::sqrt(86.0) * 3.0);
}

TEST(Equivalence, AnEmptySourceIsRefused) {
  const Model dense = tiny_resnet(TinyOptions{});
  ArraySource source({}, 0);
  EXPECT_THROW((void)check_equivalence(dense, dense, source, options(4)), ContractError);
}

}  // namespace
}  // namespace elek::test
