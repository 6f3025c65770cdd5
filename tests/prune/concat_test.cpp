// SPDX-License-Identifier: Apache-2.0
// Pruning through concatenations: which channels form a group and where they lie, the costs of groups that share a reader, and
// whole cuts with every criterion. That cuts are exact and refits follow their definition: apply_test.cpp, equivalence_test.cpp
// and refit_test.cpp, which run on these networks too.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/error.h"
#include "prune/refit_costs.h"
#include "tests/golden/window_models.h"
#include "tests/prune/array_source.h"
#include "tests/prune/double_fit.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int64_t kSamples = 14;

/// "name channels: value[first,count) …", without values that the group fills.
std::vector<std::string> summary(const Graph& graph) {
  std::vector<std::string> lines;
  for (const Group& group : find_groups(graph)) {
    std::string line = group.name + " " + std::to_string(group.channels) + (group.prunable ? ":" : " fixed:");
    for (const GroupSegment& each : group.segments) {
      const Node& node = graph.node(each.value);
      if (each.count < node.shape.channels)
        line += " " + node.name + "[" + std::to_string(each.first) + "," + std::to_string(each.count) + ")";
    }
    lines.push_back(line);
  }
  return lines;
}

TEST(ConcatGroups, KeepTheInputsApartAndFollowThemThroughEveryTie) {
  EXPECT_THAT(
      summary(concat_model().graph),
      ElementsAre(
          "input 3 fixed: first[13,3) dense1.bn[13,3) dense1.relu[13,3) dense[13,3) dense2.bn[13,3) dense2.relu[13,3) "
          "block[13,3) pool[13,3)",
          "stem.relu 13: first[0,13) dense1.bn[0,13) dense1.relu[0,13) dense[0,13) dense2.bn[0,13) dense2.relu[0,13) "
          "block[0,13) pool[0,13)",
          "dense1 6: dense[16,6) dense2.bn[16,6) dense2.relu[16,6) block[16,6) pool[16,6)", "dense2 6: block[22,6) pool[22,6)",
          "squeeze.relu 7:",
          "expand1.relu 9: fire[0,9) straight[0,9) sum[0,9) sum.relu[0,9) both[0,9) both[19,9) both[28,9) mean.fire[0,9) "
          "features[11,9) flat[11,9)",
          "expand3.relu 10: fire[9,10) straight[9,10) sum[9,10) sum.relu[9,10) both[9,10) both[37,10) mean.fire[9,10) "
          "features[20,10) flat[20,10)",
          "last.relu 11: features[0,11) flat[0,11)", "fc 7 fixed:"));
}

/// Without an activation of its own a group is called by a value that it fills; without such a value, by a segment.
TEST(ConcatGroups, HaveDifferentNames) {
  Graph g;
  const ValueId input = g.add("input", InputAttrs{{2, 4, 4}}, {});
  const auto conv = [&](const std::string& name, int64_t channels) {
    return g.add(name, Conv2dAttrs{.out_channels = channels}, {input});
  };
  const ValueId four = conv("four", 4), six = conv("six", 6);
  // Two pairs that are cut at different places: 4 + 6 and 6 + 4 channels make groups of 4, 2 and 4.
  const ValueId sum =
      g.add("sum", AddAttrs{},
            {g.add("ab", ConcatAttrs{}, {four, conv("sixth", 6)}), g.add("ba", ConcatAttrs{}, {six, conv("fourth", 4)})});
  g.add("fc", Conv2dAttrs{.out_channels = 2}, {g.add("relu", ReluAttrs{}, {sum})});
  EXPECT_THAT(summary(g), ElementsAre("input 2 fixed:", "four 4: six[0,4) ab[0,4) ba[0,4) sum[0,4) relu[0,4)",
                                      "six[1] 2: six[4,2) sixth[0,2) ab[4,2) ba[4,2) sum[4,2) relu[4,2)",
                                      "fourth 4: sixth[2,4) ab[6,4) ba[6,4) sum[6,4) relu[6,4)", "fc 2 fixed:"));
  const std::vector<Group> groups = find_groups(g);
  EXPECT_EQ(find_group(g, groups, "fourth"), find_group(g, groups, groups[3].name));
  EXPECT_EQ(find_group(g, groups, "six[1]"), 2U);
  try {
    (void)find_group(g, groups, "ab");
    ADD_FAILURE() << "several groups share 'ab'";
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("'ab'"), HasSubstr("'four'"), HasSubstr("'six[1]'")));
  }
}

/// Convolution groups would have to lose equally many channels of different groups: nothing is cut.
TEST(ConcatGroups, ReadByAGroupedConvolutionStayWhole) {
  Graph g;
  const ValueId input = g.add("input", InputAttrs{{2, 4, 4}}, {});
  const auto conv = [&](const std::string& name, const Conv2dAttrs& attrs, ValueId x) { return g.add(name, attrs, {x}); };
  const ValueId a = conv("a", {.out_channels = 4}, input), b = conv("b", {.out_channels = 4}, input);
  const ValueId mixed = conv("mixed", {.out_channels = 6, .groups = 2}, g.add("ab", ConcatAttrs{}, {a, b}));
  conv("fc", {.out_channels = 2}, mixed);
  EXPECT_THAT(summary(g), ElementsAre("input 2 fixed:", "a 4 fixed: ab[0,4)", "b 4 fixed: ab[4,4)", "mixed 6:", "fc 2 fixed:"));
}

/// left (4 channels) and right (3) -> joined -> 1x1 convolution: each group's costs are those of a fit on all seven columns.
Model shared_reader() {
  Graph g;
  const ValueId input = g.add("input", InputAttrs{{3, 6, 5}}, {});
  const auto branch = [&](const std::string& name, int64_t channels) {
    const ValueId x = g.add(name, Conv2dAttrs{.out_channels = channels, .kernel = 3, .padding = 1, .bias = true}, {input});
    return g.add(name + ".relu", ReluAttrs{}, {x});
  };
  const ValueId left = branch("left", 4), right = branch("right", 3);
  const ValueId reader =
      g.add("reader", Conv2dAttrs{.out_channels = 5, .bias = true}, {g.add("joined", ConcatAttrs{}, {left, right})});
  const ValueId flat = g.add("flat", FlattenAttrs{}, {g.add("pool", GlobalAvgPoolAttrs{}, {reader})});
  g.set_output(g.add("fc", LinearAttrs{4, true}, {flat}));
  return with_tiny_parameters(std::move(g), 31);
}

TEST(ConcatCosts, AreThoseOfAFitOnAllThatTheReaderReads) {
  const Model model = shared_reader();
  const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 8);
  ArraySource source(pixels, kSamples);
  const std::vector<Group> groups = find_groups(model.graph);
  const RefitOptions how{0.05, 0};
  const auto got = refit_costs(model, groups, source, six_at_a_time(), {}, how);
  const ReferenceValues values = run_reference(model, pixels, kSamples);
  const std::vector<double>& x = values.at("joined");
  constexpr size_t kColumns = 7, kAll = 8, kPositions = 30;
  Matrix a(kAll, std::vector<double>(kAll, 0.0));
  for (size_t i = 0; i < at(kSamples) * kPositions; ++i) {
    std::vector<double> u;
    for (size_t c = 0; c < kColumns; ++c) u.push_back(x[(i / kPositions * kColumns + c) * kPositions + i % kPositions]);
    u.push_back(1);
    for (size_t r = 0; r < kAll; ++r) {
      for (size_t c = 0; c < kAll; ++c) a[r][c] += u[r] * u[c] / static_cast<double>(at(kSamples) * kPositions);
    }
  }
  const std::span<const float> w = model.parameter("reader.weight").f32();
  Matrix rows;
  double variance = 0, mean = 0;
  for (size_t k = 0; k < 5; ++k) {
    rows.emplace_back(w.begin() + static_cast<int64_t>(k * kColumns), w.begin() + static_cast<int64_t>((k + 1) * kColumns));
    rows.back().push_back(0);
    for (size_t i = 0; i < kColumns; ++i) {
      for (size_t j = 0; j < kColumns; ++j) variance += rows[k][i] * rows[k][j] * (a[i][j] - a[i][kColumns] * a[j][kColumns]);
    }
  }
  for (size_t i = 0; i < kColumns; ++i) mean += a[i][i] / static_cast<double>(kColumns);
  for (size_t i = 0; i < kColumns; ++i) a[i][i] += how.ridge * mean;
  for (const auto& [name, first, channels] :
       {std::tuple{"left.relu", size_t{0}, size_t{4}}, {"right.relu", size_t{4}, size_t{3}}}) {
    const std::vector<double>& costs = got.at(find_group(model.graph, groups, name));
    ASSERT_EQ(costs.size(), channels);
    std::vector<bool> gone(kAll, false);
    for (size_t step = 0; step < channels; ++step) {
      size_t best = channels;
      double least = 0;
      for (size_t c = 0; c < channels; ++c) {
        if (gone[first + c]) continue;
        std::vector<size_t> stay;
        for (size_t i = 0; i < kAll; ++i) {
          if (!gone[i] && i != first + c) stay.push_back(i);
        }
        double all = 0;
        for (const auto& row : rows) all += loss_on(stay, a, row) / variance;
        if (best == channels || all < least) best = c, least = all;
      }
      EXPECT_NEAR(costs[best], least, 1e-3 * least) << name << " step " << step;
      gone[first + best] = true;
    }
  }
}

/// Every criterion chooses, the check passes, and the repair runs: with a share of each group, and with one pool of all groups,
/// which need not take from each.
TEST(ConcatCut, WorksWithEveryCriterion) {
  const Model mobile = [] {
    Model model = tiny_mobile(1);
    model.parameters = tiny_parameters(model.graph, 29);
    return model;
  }();
  for (const Model& dense : {concat_model(), mobile}) {
    ArraySource source(tiny_pixels(dense.graph.input_shape(), kSamples, 8), kSamples);
    const std::vector<Group> groups = find_groups(dense.graph);
    const auto prunable = std::count_if(groups.begin(), groups.end(), [](const Group& group) { return group.prunable; });
    ASSERT_GT(prunable, 4);
    for (const Criterion* criterion : all_criteria()) {
      for (const Scope scope : {Scope::kLayer, Scope::kGlobal}) {
        SCOPED_TRACE(criterion->name() + " " + name_of(scope));
        CutOptions options;
        options.criterion = criterion;
        options.channels.share = 0.4;
        options.channels.round_to = 1;
        options.scope = scope;
        options.session = six_at_a_time();
        CutObserver observer;
        const CutReport report = cut(dense, source, nullptr, options, observer);
        EXPECT_GT(report.equivalence.samples, 0);
        EXPECT_LE(report.equivalence.difference, report.equivalence.bound);
        EXPECT_LT(macs(report.model.graph), macs(dense.graph));
        if (scope == Scope::kLayer) {
          EXPECT_EQ(std::ssize(report.plan.groups), prunable);
        }
      }
    }
  }
}

/// Rounds: names and segments stay, whatever was cut before.
TEST(ConcatCut, WorksInRounds) {
  const Model dense = concat_model();
  ArraySource source(tiny_pixels(dense.graph.input_shape(), kSamples, 8), kSamples);
  CutOptions options;
  options.criterion = &find_criterion("magnitude");
  options.channels.share = 0.5;
  options.channels.round_to = 1;
  options.steps = 3;
  options.session = six_at_a_time();
  CutObserver observer;
  const CutReport report = cut(dense, source, nullptr, options, observer);
  for (const GroupCut& group : report.plan.groups)
    EXPECT_NEAR(static_cast<double>(group.keep.size()), static_cast<double>(group.channels) / 2, 0.5) << group.group;
  EXPECT_EQ(report.plan.groups.size(), 7U);
}

}  // namespace
}  // namespace elek::test
