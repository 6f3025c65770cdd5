// SPDX-License-Identifier: Apache-2.0
// What explains a cut: its numbers are the statistics', added up by channel; ranks follow the scores; what stays is what the
// plan keeps. The command's text: tests/cli/why_test.cpp.
#include "prune/why.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/error.h"
#include "core/hint.h"
#include "prune/score.h"
#include "prune/select.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

const WhyColumn& column(const WhySource& source, const std::string& name) {
  for (const WhyColumn& each : source.columns) {
    if (each.name == name) return each;
  }
  throw ContractError("no column " + name);
}

struct Explained {
  Statistics statistics;
  PrunePlan plan;
  Why why;
};

/// Half of the group's channels go by the criterion.
Explained explained(const Model& model, const std::string& criterion_name, const std::string& group) {
  const Criterion& criterion = find_criterion(criterion_name);
  const std::vector<float> input = random_input(model.graph, 5, 3);
  Explained made;
  made.statistics = take_statistics(model, probes_for(criterion, model.graph), input, 5);
  const std::vector<Group> groups = find_groups(model.graph);
  made.plan = select_channels(groups, score_channels(model, groups, criterion, made.statistics, 7), model.graph,
                              {.share = 0.5, .round_to = 1});
  made.why = why_channels(group, model, made.statistics, criterion, made.plan, 7);
  return made;
}

void expect_ranks(const Why& why) {
  std::vector<size_t> order(why.scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return why.scores[a] < why.scores[b]; });
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(why.rank.at(order[i]), static_cast<int64_t>(i) + 1);
}

TEST(WhyLibrary, AGroupHasTheSumsTheScoresAndTheFatesOfItsChannels) {
  const Model model = tiny_basic(2);
  const std::vector<Group> groups = find_groups(model.graph);
  const Group& group = *std::find_if(groups.begin(), groups.end(), [](const Group& g) { return g.prunable; });
  const Explained e = explained(model, "std-consumer", group.name);
  const Why& why = e.why;
  EXPECT_EQ(why.name, group.name);
  EXPECT_EQ(why.criterion, "std-consumer");
  EXPECT_EQ(why.producers, names(model.graph, group.producers));
  EXPECT_EQ(why.readers.size(), group.consumers.size());
  ASSERT_EQ(why.scores.size(), static_cast<size_t>(group.channels));
  expect_ranks(why);
  std::vector<double> squares(why.scores.size(), 0.0);  // the criterion once more, from the columns
  for (const WhySource& source : why.sources) {
    const ValueSums& sums = e.statistics.values.at(source.name);
    EXPECT_FALSE(source.is_layer);
    EXPECT_EQ(source.positions, sums.count);
    EXPECT_EQ(source.samples, 5);
    EXPECT_EQ(column(source, "sum").values, sums.sum);
    EXPECT_EQ(column(source, "sum_sq").values, sums.sum_sq);
    for (size_t c = 0; c < squares.size(); ++c) {
      const auto n = static_cast<double>(sums.count);
      const double variance = sums.sum_sq[c] / n - (sums.sum[c] / n) * (sums.sum[c] / n);
      squares[c] += std::max(0.0, variance) * column(source, "weights_sq").values[c];
    }
  }
  for (size_t c = 0; c < squares.size(); ++c) EXPECT_NEAR(why.scores[c], std::sqrt(squares[c]), 1e-9 * (1 + why.scores[c]));
  const auto cut =
      std::find_if(e.plan.groups.begin(), e.plan.groups.end(), [&](const auto& g) { return g.group == group.name; });
  ASSERT_NE(cut, e.plan.groups.end());
  for (int64_t c = 0; c < group.channels; ++c) {
    EXPECT_EQ(why.kept.at(static_cast<size_t>(c)), std::binary_search(cut->keep.begin(), cut->keep.end(), c) ? 1 : 0);
    EXPECT_EQ(why.of.at(static_cast<size_t>(c)), 1);
  }
}

/// The value after the flatten has 4x4 elements per channel; a column has one number per channel.
TEST(WhyLibrary, ElementsOfAFlattenedChannelAreAddedUp) {
  const Model model = depthwise_and_flatten(4);
  const Graph& graph = model.graph;
  const std::vector<Group> groups = find_groups(graph);
  const auto flat = std::find_if(groups.begin(), groups.end(), [&](const Group& g) {
    return g.prunable && std::any_of(g.consumers.begin(), g.consumers.end(), [&](const GroupConsumer& edge) {
             return graph.node(edge.node).is<LinearAttrs>() && graph.node(edge.value).shape.channels > g.channels;
           });
  });
  ASSERT_NE(flat, groups.end());
  const Explained e = explained(model, "wanda", flat->name);
  const auto reader = std::find_if(e.why.sources.begin(), e.why.sources.end(),
                                   [&](const WhySource& s) { return graph.node(graph.at(s.name)).is<LinearAttrs>(); });
  ASSERT_NE(reader, e.why.sources.end());
  EXPECT_TRUE(reader->is_layer);
  const std::vector<double>& norm_sq = e.statistics.tap_norms.at(reader->name).norm_sq;
  const WhyColumn& told = column(*reader, "norm_sq");
  ASSERT_EQ(told.values.size(), static_cast<size_t>(flat->channels));
  const size_t each = norm_sq.size() / told.values.size();
  EXPECT_EQ(each, 16U);
  for (size_t c = 0; c < told.values.size(); ++c) {
    const auto first = norm_sq.begin() + static_cast<std::ptrdiff_t>(c * each);
    EXPECT_NEAR(told.values[c], std::accumulate(first, first + static_cast<std::ptrdiff_t>(each), 0.0), 1e-9 * told.values[c]);
  }
}

TEST(WhyLibrary, ConvolutionGroupsAreTold) {
  const Model model = tiny_resnext(3);
  const std::vector<Group> groups = find_groups(model.graph);
  const auto grouped =
      std::find_if(groups.begin(), groups.end(), [](const Group& g) { return g.prunable && g.conv_groups > 1; });
  ASSERT_NE(grouped, groups.end());
  EXPECT_EQ(explained(model, "positions", grouped->name).why.conv_groups, grouped->conv_groups);
}

TEST(WhyLibrary, ALayersWeightsAreCountedByInputChannel) {
  for (const Model& model : {tiny_basic(2), tiny_resnext(3)}) {  // plain and grouped convolutions
    const Statistics statistics = take_statistics(model, probes_for_weights(model.graph), random_input(model.graph, 5, 3), 5);
    WeightTarget target;
    target.sparsity = 0.5;
    const PrunePlan plan = select_weights(model, statistics, target);
    ASSERT_FALSE(plan.weights.empty());
    for (const WeightCut& cut : plan.weights) {
      const Why why = why_weights(cut.node, model, statistics, plan);
      EXPECT_TRUE(why.criterion.empty());
      EXPECT_EQ(why.weights, std::ssize(cut.keep));
      expect_ranks(why);
      EXPECT_EQ(std::accumulate(why.of.begin(), why.of.end(), int64_t{0}), why.weights);
      EXPECT_EQ(std::accumulate(why.kept.begin(), why.kept.end(), int64_t{0}), why.weights - cut.removed) << cut.node;
      for (size_t c = 0; c < why.kept.size(); ++c) EXPECT_LE(why.kept[c], why.of[c]);
    }
  }
}

TEST(WhyLibrary, NamesThatExplainNothingAreRefused) {
  const Model model = tiny_basic(2);
  CutOptions channels;
  EXPECT_THROW(check_why("nosuch", model, channels), UsageError);
  EXPECT_THROW(check_why("fc", model, channels), UsageError) << "the logits";
  CutOptions weights;
  weights.weights = true;
  try {
    check_why("nosuch", model, weights);
    ADD_FAILURE() << "no error";
  } catch (const UsageError& error) {
    EXPECT_EQ(hint_of(error), Hint::kLayerNames);
    EXPECT_THAT(std::string(error.what()), ::testing::HasSubstr("nosuch"));
  }
}

}  // namespace
}  // namespace elek::test
