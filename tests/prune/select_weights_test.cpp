// SPDX-License-Identifier: Apache-2.0
// Wanda on weights: the removed weights, compared with a sort of |w| * norm written here; patterns; what stays unchanged.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "prune/score.h"
#include "prune/select.h"
#include "tests/prune/networks.h"

namespace elek::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kSamples = 2;

Statistics norms_of(const Model& model) {
  return take_statistics(model, probes_for_weights(model.graph), random_input(model.graph, kSamples, 9), kSamples);
}

/// |w| * norm, with the input channel of each weight worked out from the attributes.
std::vector<double> products(const Model& model, const Statistics& statistics, const std::string& name) {
  const Node& node = model.graph.node(model.graph.at(name));
  Conv2dAttrs attrs;
  attrs.out_channels = node.shape.channels;
  if (node.is<Conv2dAttrs>()) attrs = node.as<Conv2dAttrs>();
  const std::span<const float> w = model.parameter(name + ".weight").f32();
  const int64_t taps = attrs.kernel.area();
  const int64_t per_slice = std::ssize(w) / (attrs.out_channels * taps);
  std::vector<double> found;
  for (int64_t i = 0; i < std::ssize(w); ++i) {
    const int64_t k = i / (per_slice * taps);
    const int64_t c = k / (attrs.out_channels / attrs.groups) * per_slice + i / taps % per_slice;
    const double norm_sq = statistics.tap_norms.at(name).norm_sq[static_cast<size_t>(c * taps + i % taps)];
    found.push_back(std::fabs(double{w[static_cast<size_t>(i)]}) * std::sqrt(norm_sq));
  }
  return found;
}

/// Mask of the rivals (weight indices) with the `count` lowest gone, ties by index.
void drop_lowest(const std::vector<double>& product, std::vector<int64_t> rivals, int64_t count, std::vector<uint8_t>& keep) {
  std::stable_sort(rivals.begin(), rivals.end(),
                   [&](int64_t a, int64_t b) { return product[static_cast<size_t>(a)] < product[static_cast<size_t>(b)]; });
  for (int64_t i = 0; i < count; ++i) keep[static_cast<size_t>(rivals[static_cast<size_t>(i)])] = 0;
}

std::vector<int64_t> range(int64_t first, int64_t count, int64_t step = 1) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < count; ++i) all.push_back(first + i * step);
  return all;
}

class SelectWeights : public testing::TestWithParam<Model (*)(uint64_t)> {};
INSTANTIATE_TEST_SUITE_P(Networks, SelectWeights,
                         testing::Values(tiny_basic, tiny_bottleneck, tiny_option_a, tiny_resnext, depthwise_and_flatten));

TEST_P(SelectWeights, SharesPerOutputAndPerLayer) {
  const Model model = GetParam()(11);
  const Statistics statistics = norms_of(model);
  for (const double sparsity : {0.3, 0.5, 0.97}) {
    for (const Compare how : {Compare::kOutput, Compare::kLayer}) {
      const PrunePlan plan = select_weights(model, statistics, {sparsity, 0, 0, how, {}});
      EXPECT_EQ(plan.criterion, "wanda");
      EXPECT_TRUE(plan.groups.empty());
      ASSERT_FALSE(plan.weights.empty());
      for (const WeightCut& cut : plan.weights) {
        const std::vector<double> product = products(model, statistics, cut.node);
        const int64_t rows = how == Compare::kOutput ? model.parameter(cut.node + ".weight").shape()[0] : 1;
        const int64_t length = std::ssize(product) / rows;
        const int64_t gone = std::min(length - 1, static_cast<int64_t>(std::llround(sparsity * static_cast<double>(length))));
        std::vector<uint8_t> want(product.size(), 1);
        for (int64_t row = 0; row < rows; ++row) drop_lowest(product, range(row * length, length), gone, want);
        EXPECT_EQ(cut.keep, want) << cut.node << " " << sparsity;
        EXPECT_EQ(cut.removed, rows * gone);
      }
    }
  }
}

/// n:m by its definition: of each m consecutive input channels of one output and tap the m - n lowest products go.
void expect_pattern(const Model& model, const Statistics& statistics, int64_t n, int64_t m) {
  const PrunePlan plan = select_weights(model, statistics, {0, n, m, Compare::kOutput, {}});
  EXPECT_EQ(plan.target, "pattern=" + std::to_string(n) + ":" + std::to_string(m));
  std::map<std::string, const WeightCut*> cuts;
  for (const WeightCut& cut : plan.weights) cuts[cut.node] = &cut;
  for (const auto& [node, norms] : statistics.tap_norms) {
    const Shape& shape = model.parameter(node + ".weight").shape();
    const int64_t inputs = shape[1];
    const int64_t taps = shape.elements() / shape[0] / inputs;
    ASSERT_EQ(cuts.contains(node), inputs >= m) << node;  // fewer channels make no whole m
    if (inputs < m) continue;
    const std::vector<double> product = products(model, statistics, node);
    std::vector<uint8_t> want(product.size(), 1);
    int64_t gone = 0;
    for (int64_t k = 0; k < shape[0]; ++k) {
      for (int64_t tap = 0; tap < taps; ++tap) {
        for (int64_t block = 0; block < inputs / m; ++block) {  // what is left over beyond the last m stays
          drop_lowest(product, range((k * inputs + block * m) * taps + tap, m, taps), m - n, want);
          gone += m - n;
        }
      }
    }
    EXPECT_EQ(cuts.at(node)->keep, want) << node;
    EXPECT_EQ(cuts.at(node)->removed, gone);
  }
}

TEST_P(SelectWeights, PatternsRunAlongInputChannels) {
  const Model model = GetParam()(12);
  const Statistics statistics = norms_of(model);
  for (const auto& [n, m] : {std::pair<int64_t, int64_t>{2, 3}, {1, 2}, {2, 4}, {4, 8}})
    expect_pattern(model, statistics, n, m);
}

TEST(SelectWeightsEdges, PatternsOfEight) {  // the networks above are narrower than 8
  ResNetSpec spec = resnet_spec("cifar_resnet20");
  spec.widths = {8, 13, 16};
  spec.input = {3, 8, 8};
  const Model model = with_parameters(build_resnet(spec), 4);
  const Statistics statistics = norms_of(model);
  for (const auto& [n, m] : {std::pair<int64_t, int64_t>{4, 8}, {1, 8}, {2, 4}}) expect_pattern(model, statistics, n, m);
}

TEST(SelectWeightsEdges, TheClassifierAndTheIgnoredStay) {
  const Model model = tiny_basic(3);
  const Statistics statistics = norms_of(model);
  const auto touched = [&](const WeightTarget& target, const Statistics& from) {
    std::vector<std::string> nodes;
    for (const WeightCut& cut : select_weights(model, from, target).weights) nodes.push_back(cut.node);
    return nodes;
  };
  EXPECT_THAT(touched({0.5, 0, 0, Compare::kOutput, {}}, statistics), testing::Not(testing::Contains("fc")));
  EXPECT_THAT(touched({0.5, 0, 0, Compare::kOutput, {}}, statistics), testing::Contains("conv1"));
  EXPECT_THAT(touched({0.5, 0, 0, Compare::kOutput, {"conv1"}}, statistics), testing::Not(testing::Contains("conv1")));
  Probes with_fc = probes_for_weights(model.graph);
  with_fc.tap_norms.emplace_back("fc");
  const Statistics more = take_statistics(model, with_fc, random_input(model.graph, kSamples, 9), kSamples);
  EXPECT_THAT(touched({0.5, 0, 0, Compare::kOutput, {}}, more), testing::Contains("fc"));
  EXPECT_TRUE(select_weights(model, statistics, {0.0, 0, 0, Compare::kOutput, {}}).removes_nothing());
}

TEST(SelectWeightsEdges, RefusesWhatCannotBeAsked) {
  const Model model = tiny_basic(3);
  const Statistics statistics = norms_of(model);
  const auto usage = [&](const WeightTarget& target) -> std::string {
    try {
      (void)select_weights(model, statistics, target);
    } catch (const UsageError& error) {
      return error.what();
    }
    return "no UsageError";
  };
  EXPECT_THAT(usage({1.0, 0, 0, Compare::kOutput, {}}), HasSubstr("sparsity is 1"));
  EXPECT_THAT(usage({std::numeric_limits<double>::quiet_NaN(), 0, 0, Compare::kOutput, {}}), HasSubstr("sparsity is"));
  EXPECT_THAT(usage({0, 4, 4, Compare::kOutput, {}}), HasSubstr("4:4"));
  EXPECT_THAT(usage({0, 0, 4, Compare::kOutput, {}}), HasSubstr("0:4"));
  EXPECT_THAT(usage({0, 2, 0, Compare::kOutput, {}}), HasSubstr("2:0"));
  EXPECT_THAT(usage({0.5, 2, 4, Compare::kOutput, {}}), HasSubstr("both a sparsity and a pattern"));
  EXPECT_THAT(usage({0.5, 0, 0, Compare::kOutput, {"relu"}}), HasSubstr("'relu'"));

  const auto input = [&](const Statistics& bad) -> std::string {
    try {
      (void)select_weights(model, bad, {0.5, 0, 0, Compare::kOutput, {}});
    } catch (const InputError& error) {
      return error.what();
    }
    return "no InputError";
  };
  EXPECT_THAT(input({}), HasSubstr("expected tap norms"));
  Statistics bad = statistics;
  bad.model_hash += 1;
  EXPECT_THAT(input(bad), HasSubstr("expected those of model"));
  bad = statistics;
  bad.tap_norms["layer7.conv1"] = bad.tap_norms.at("conv1");
  EXPECT_THAT(input(bad), HasSubstr("'layer7.conv1'"));
  bad = statistics;
  bad.tap_norms.at("conv1").norm_sq[3] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(input(bad), HasSubstr("'conv1'"));
}

}  // namespace
}  // namespace elek::test
