// SPDX-License-Identifier: Apache-2.0
// The registry of criteria: names, default scopes, and that all criteria work through the common interface.
#include <gmock/gmock.h>

#include "core/error.h"
#include "core/sums.h"
#include "elek/prune.h"
#include "prune/score.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

TEST(CriterionRegistry, ListsEveryNameOnce) {
  std::vector<std::string> names;
  for (const Criterion* each : all_criteria()) {
    names.push_back(each->name());
    EXPECT_EQ(&find_criterion(each->name()), each);
    EXPECT_FALSE(each->traits().about.empty()) << each->name();
    EXPECT_FALSE(each->traits().family.empty()) << each->name();
  }
  EXPECT_THAT(names, ::testing::ElementsAre("std-consumer", "positions", "rms", "std", "frequency", "normalized_mean",
                                            "mean_absolute", "combined", "wanda", "wanda-seed", "magnitude", "magnitude-l1",
                                            "random", "refit", "taylor", "fisher"));
  EXPECT_EQ(default_criterion().name(), "refit");
}

TEST(CriterionRegistry, AnUnknownNameIsToldWhatThereIs) {
  try {
    (void)find_criterion("entropy");
    FAIL() << "found";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'entropy'"));
    for (const Criterion* each : all_criteria()) EXPECT_THAT(error.what(), HasSubstr(each->name()));
  }
}

TEST(Criterion, CostsThatCompareMakeOfAGlobalPoolOneOfMacs) {
  const Criterion& refit = find_criterion("refit");
  EXPECT_EQ(refit.scope_for(std::nullopt), Scope::kMacs);
  EXPECT_EQ(refit.scope_for(Scope::kGlobal), Scope::kMacs);
  EXPECT_EQ(refit.scope_for(Scope::kLayer), Scope::kLayer);
  const Criterion& rms = find_criterion("rms");
  EXPECT_EQ(rms.scope_for(std::nullopt), Scope::kLayer);
  EXPECT_EQ(rms.scope_for(Scope::kGlobal), Scope::kGlobal);
}

/// The statistics that a session takes over two images.
Statistics statistics_of(const Model& model, const Probes& probes) {
  if (probes.empty()) return {};
  SessionOptions options;
  options.batch = 2;
  options.threads = 1;
  options.probes = probes;
  Session session(model, options);
  ArraySource source(tiny_pixels(model.graph.input_shape(), 2, 1), 2);
  for_each_batch(session, source, 0, {});
  return session.statistics();
}

/// A criterion asks for exactly the evidence that it declares, and can score from it.
TEST(Criterion, NeedsWhatItSays) {
  const Model model = tiny_basic(3);
  const std::vector<Group> groups = find_groups(model.graph);
  for (const Criterion* each : all_criteria()) {
    const Probes probes = probes_for(*each, model.graph);
    EXPECT_EQ(!probes.empty(), each->traits().needs == Criterion::Needs::kStatistics) << each->name();
    if (each->needs_images()) {
      EXPECT_THROW((void)score_channels(model, groups, *each, {}, 0), ContractError) << each->name();
      continue;
    }
    EXPECT_THROW((void)each->forecast(model.graph, groups, 1, {}), ContractError) << each->name();
    const Statistics sums = statistics_of(model, probes);
    const Scores scores = score_channels(model, groups, *each, sums, 7);
    ASSERT_EQ(scores.size(), groups.size()) << each->name();
    for (size_t g = 0; g < groups.size(); ++g) {
      EXPECT_EQ(std::ssize(scores[g]), groups[g].prunable ? groups[g].channels : 0) << each->name() << " " << groups[g].name;
    }
    EXPECT_EQ(scores != score_channels(model, groups, *each, sums, 8), each->traits().uses_seed) << each->name();
  }
}

TEST(Criterion, RawConvolutionsAreRefusedByThoseThatLookAtWhatLayersRead) {
  const Graph graph = tiny_basic(3).graph;
  for (const Criterion* each : all_criteria()) {
    if (each->traits().raw_convolutions) {
      EXPECT_EQ(probes_for(*each, graph, Tap::kConv).tap, Tap::kConv) << each->name();
    } else {
      EXPECT_THROW((void)probes_for(*each, graph, Tap::kConv), UsageError) << each->name();
    }
  }
}

}  // namespace
}  // namespace elek::test
