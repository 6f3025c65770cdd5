// SPDX-License-Identifier: Apache-2.0
// Scores compared with the definitions of docs/criteria.md, computed in double from whole activations: without sums and without
// a statistics file. The statistics come from the interpreter, so only prune/ is tested here.
#include "prune/score.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <set>

#include "core/error.h"
#include "prune/groups.h"
#include "tests/prune/networks.h"
#include "tests/support/compare.h"

namespace elek::test {
namespace {

using testing::HasSubstr;

constexpr int64_t kSamples = 3;

struct Scored {
  Model model;
  std::vector<float> input;
  ReferenceValues run;
  std::vector<Group> groups;
};

Scored scored(Model model) {
  std::vector<float> input = random_input(model.graph, kSamples, 5);
  ReferenceValues run = run_reference_nchw(model, input, kSamples);
  std::vector<Group> groups = find_groups(model.graph);
  return {std::move(model), std::move(input), std::move(run), std::move(groups)};
}

std::vector<std::vector<double>> score(const Scored& s, const std::string& name) {
  const Criterion& criterion = find_criterion(name);
  const Statistics statistics = take_statistics(s.model, probes_for(criterion, s.model.graph), s.input, kSamples);
  return score_channels(s.model, s.groups, criterion, statistics, 1);
}

/// All numbers of one channel of a value, over samples and positions.
std::vector<double> channel(const Scored& s, ValueId value, int64_t c) {
  const Node& node = s.model.graph.node(value);
  const std::vector<double>& all = s.run.at(node.name);
  std::vector<double> found;
  for (int64_t n = 0; n < kSamples; ++n) {
    for (int64_t p = 0; p < node.shape.positions(); ++p) {
      found.push_back(all[static_cast<size_t>((n * node.shape.channels + c) * node.shape.positions() + p)]);
    }
  }
  return found;
}

double mean_of(const std::vector<double>& values, double (*term)(double)) {
  double sum = 0;
  for (const double v : values) sum += term(v);
  return sum / static_cast<double>(values.size());
}

double variance_of(const std::vector<double>& values) {  // two passes: the mean first
  const double mean = mean_of(values, [](double v) { return v; });
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return sum / static_cast<double>(values.size());
}

/// The sum over rows of a reader's w^2 that meet its input channel c, each tap weighed by `factor`.
template <typename Factor>
double read_weight(const Model& model, const Node& reader, int64_t c, const Factor& factor) {
  const ImageShape& input = model.graph.node(reader.inputs[0]).shape;
  const bool conv = reader.is<Conv2dAttrs>();
  const int64_t slices = conv ? reader.as<Conv2dAttrs>().groups : 1;
  const int64_t taps = conv ? reader.as<Conv2dAttrs>().kernel.area() : 1;
  const int64_t per_slice = input.channels / slices;
  const std::span<const float> w = model.parameter(reader.name + ".weight").f32();
  double sum = 0;
  for (int64_t k = 0; k < reader.shape.channels; ++k) {
    if (k / (reader.shape.channels / slices) != c / per_slice) continue;
    for (int64_t tap = 0; tap < taps; ++tap) {
      const double value = double{w[static_cast<size_t>((k * per_slice + c % per_slice) * taps + tap)]};
      sum += value * value * factor(tap);
    }
  }
  return sum;
}

double one(int64_t /*tap*/) { return 1.0; }

/// The scores of std-consumer, wanda and magnitude for one channel of a group, from the definitions.
double expected(const Scored& s, const Group& group, const std::string& criterion, int64_t channel_index) {
  const Graph& graph = s.model.graph;
  double total = 0;
  for (const Node& reader : graph.nodes()) {
    if (!(reader.is<Conv2dAttrs>() || reader.is<LinearAttrs>())) continue;
    const ValueId input = reader.inputs[0];
    if (std::count(group.values.begin(), group.values.end(), input) == 0) continue;
    const std::vector<int64_t> channels = channels_of(graph, group, input);
    for (int64_t c = 0; c < std::ssize(channels); ++c) {
      if (channels[static_cast<size_t>(c)] != channel_index) continue;
      if (criterion == "std-consumer") total += variance_of(channel(s, input, c)) * read_weight(s.model, reader, c, one);
      if (criterion == "magnitude") total += read_weight(s.model, reader, c, one);
      if (criterion == "wanda") {
        Conv2dAttrs attrs;
        if (reader.is<Conv2dAttrs>()) attrs = reader.as<Conv2dAttrs>();
        const std::vector<double>& x = s.run.at(graph.node(input).name);
        const std::vector<double> norms =
            tap_norms(std::vector<float>(x.begin(), x.end()), kSamples, graph.node(input).shape, attrs.window());
        total += read_weight(s.model, reader, c,
                             [&](int64_t tap) { return norms[static_cast<size_t>(c * attrs.kernel.area() + tap)]; });
      }
    }
  }
  if (criterion == "magnitude") {
    for (const Node& made : graph.nodes()) {
      const bool weights = made.is<Conv2dAttrs>() || made.is<LinearAttrs>();
      if (!weights || std::count(group.values.begin(), group.values.end(), graph.at(made.name)) == 0) continue;
      if (is_depthwise(graph, graph.at(made.name))) continue;  // counted above, as the reader it is too
      const std::span<const float> w = s.model.parameter(made.name + ".weight").f32();
      const std::vector<int64_t> channels = channels_of(graph, group, graph.at(made.name));
      const size_t row = w.size() / channels.size();
      for (size_t i = 0; i < w.size(); ++i) {
        const double value = double{w[i]};
        if (channels[i / row] == channel_index) total += value * value;
      }
    }
  }
  return std::sqrt(total);
}

std::vector<Model> all_networks() {
  std::vector<Model> models;
  for (auto* make : {tiny_basic, tiny_bottleneck, tiny_option_a, tiny_resnext, depthwise_and_flatten, tiny_concat, tiny_mobile})
    models.push_back(make(3));
  return models;
}

TEST(Score, ConsumerCriteriaFollowTheirDefinitions) {
  for (Model& model : all_networks()) {
    const Scored s = scored(std::move(model));
    for (const std::string criterion : {"std-consumer", "wanda", "magnitude"}) {
      const auto scores = score(s, criterion);
      for (size_t g = 0; g < s.groups.size(); ++g) {
        if (!s.groups[g].prunable) {
          EXPECT_TRUE(scores[g].empty());
          continue;
        }
        std::vector<double> want;
        for (int64_t c = 0; c < s.groups[g].channels; ++c) want.push_back(expected(s, s.groups[g], criterion, c));
        // Values are stored as f32 (6e-8 each) before they are summed; cancellation in E[x^2] - E[x]^2 adds to it.
        const double atol = 1e-5 * *std::max_element(want.begin(), want.end());
        const Mismatch m = compare(scores[g], want, atol, 1e-5);
        EXPECT_EQ(m.count, 0) << criterion << ", group " << s.groups[g].name << ": " << m.message();
      }
    }
  }
}

TEST(Score, CoverageCriteriaCombineTheirTaps) {
  for (Model& model : all_networks()) {
    const Scored s = scored(std::move(model));
    const auto positions = score(s, "positions");
    const auto rms = score(s, "rms");
    const auto std = score(s, "std");
    for (size_t g = 0; g < s.groups.size(); ++g) {
      if (!s.groups[g].prunable) continue;
      for (int64_t c = 0; c < s.groups[g].channels; ++c) {
        double p = 0, r = 0, d = 0;
        for (const ValueId tap : s.groups[g].watched) {
          const std::vector<int64_t> channels = channels_of(s.model.graph, s.groups[g], tap);
          for (int64_t k = 0; k < std::ssize(channels); ++k) {  // a group can lie at an offset, and in several places
            if (channels[static_cast<size_t>(k)] != c) continue;
            const std::vector<double> values = channel(s, tap, k);
            p += std::pow(mean_of(values, [](double v) { return v > 0 ? 1.0 : 0.0; }), 2);
            r += mean_of(values, [](double v) { return v * v; });
            d += variance_of(values);
          }
        }
        const auto i = static_cast<size_t>(c);
        EXPECT_NEAR(positions[g][i], std::sqrt(p), 1e-12) << s.groups[g].name;
        EXPECT_NEAR(rms[g][i], std::sqrt(r), 1e-5 * std::sqrt(r)) << s.groups[g].name;
        EXPECT_NEAR(std[g][i], std::sqrt(d), 1e-5 * std::sqrt(r)) << s.groups[g].name;
      }
    }
  }
}

TEST(Score, AConstantChannelScoresZeroNotNan) {
  Model model = tiny_basic(3);
  Statistics statistics = take_statistics(model, probes_for(find_criterion("std-consumer"), model.graph),
                                          random_input(model.graph, kSamples, 5), kSamples);
  ValueSums& sums = statistics.values.at("relu");
  sums.sum[1] = 0.1 * static_cast<double>(sums.count);  // E[x^2] - E[x]^2 rounds to just below zero
  sums.sum_sq[1] = 0.01 * static_cast<double>(sums.count) * (1 - 1e-15);
  const auto groups = find_groups(model.graph);
  for (auto& [name, value] : statistics.values) {
    if (name != "relu") value.sum[1] = value.sum_sq[1] = 0;
  }
  const auto scores = score_channels(model, groups, find_criterion("std-consumer"), statistics, 0);
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].name == "relu") {
      EXPECT_EQ(scores[g][1], 0.0);
    }
  }
}

TEST(Score, ProbesAskForWhatIsRead) {
  const Graph graph = build_resnet(resnet_spec("resnet50"));
  const Probes consumer = probes_for(find_criterion("std-consumer"), graph);
  EXPECT_EQ(consumer.values.count("maxpool"), 1U);
  EXPECT_EQ(consumer.values.count("relu"), 0U);
  EXPECT_EQ(consumer.values.count("avgpool"), 1U);  // what fc reads, by the name under which it is stored
  EXPECT_EQ(consumer.values.count("layer4.2"), 0U);
  EXPECT_EQ(probes_for(find_criterion("positions"), graph).values.count("relu"), 1U);
  EXPECT_EQ(probes_for(find_criterion("positions"), graph).values.count("layer4.2"), 1U);
  EXPECT_TRUE(probes_for(find_criterion("magnitude"), graph).empty());
  EXPECT_TRUE(probes_for(find_criterion("random"), graph).empty());
  const Probes channels = probes_for(find_criterion("wanda"), graph);
  EXPECT_EQ(std::count(channels.tap_norms.begin(), channels.tap_norms.end(), "fc"), 1);
  EXPECT_EQ(std::count(channels.tap_norms.begin(), channels.tap_norms.end(), "conv1"), 0);
  const Probes weights = probes_for_weights(graph);
  EXPECT_EQ(weights.tap_norms.size(), 53U);  // every convolution of a ResNet-50
  EXPECT_EQ(std::count(weights.tap_norms.begin(), weights.tap_norms.end(), "fc"), 0);
  EXPECT_EQ(std::set<std::string>(weights.tap_norms.begin(), weights.tap_norms.end()).size(), 53U);
}

TEST(Score, RandomDependsOnSeedAndGroupOnly) {
  const Model a = tiny_basic(1);
  const Model b = tiny_basic(2);
  const auto groups = find_groups(a.graph);
  const auto first = score_channels(a, groups, find_criterion("random"), {}, 7);
  EXPECT_EQ(first, score_channels(b, groups, find_criterion("random"), {}, 7));
  EXPECT_NE(first, score_channels(a, groups, find_criterion("random"), {}, 8));
  EXPECT_NE(first[1], first[2]);
}

TEST(Score, NamesRoundTrip) {
  for (const char* name : {"std-consumer", "positions", "rms", "std", "wanda", "magnitude", "random"}) {
    EXPECT_EQ(find_criterion(name).name(), name);
  }
  try {
    (void)find_criterion("entropy");
    FAIL();
  } catch (const UsageError& error) {
    EXPECT_THAT(error.what(), HasSubstr("'entropy'"));
    EXPECT_THAT(error.what(), HasSubstr("std-consumer, positions"));
  }
}

/// The message of the InputError that scoring with these statistics throws.
std::string complaint(const Model& model, const Criterion& criterion, const Statistics& statistics) {
  try {
    (void)score_channels(model, find_groups(model.graph), criterion, statistics, 0);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no InputError";
}

TEST(Score, RefusesStatisticsThatAreNotItsOwn) {
  const Model model = tiny_basic(3);
  const std::vector<float> input = random_input(model.graph, kSamples, 5);
  const Statistics good = take_statistics(model, probes_for(find_criterion("std-consumer"), model.graph), input, kSamples);
  Statistics bad = good;
  bad.model_hash ^= 1;
  EXPECT_THAT(complaint(model, find_criterion("std-consumer"), bad), HasSubstr("expected those of model"));
  bad = good;
  bad.values.erase("relu");
  EXPECT_THAT(complaint(model, find_criterion("std-consumer"), bad), HasSubstr("no sums of value 'relu'"));
  bad = good;
  bad.values.at("relu").nonfinite = 2;
  EXPECT_THAT(complaint(model, find_criterion("std-consumer"), bad), HasSubstr("'relu' has 2 NaN"));
  bad = good;
  bad.values.at("relu").sum_sq[0] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(complaint(model, find_criterion("std-consumer"), bad), HasSubstr("'relu' has 0 NaN"));
  bad = good;
  bad.values.at("relu").sum.pop_back();
  EXPECT_THAT(complaint(model, find_criterion("std-consumer"), bad), HasSubstr("expected sums of 4 channels, found 3 of 4"));
  bad = good;
  bad.values.at("relu").count = 0;
  EXPECT_THAT(complaint(model, find_criterion("std-consumer"), bad), HasSubstr("has no sample"));
  bad = good;
  bad.tap = Tap::kConv;
  EXPECT_THAT(complaint(model, find_criterion("std-consumer"), bad), HasSubstr("needs the stored values (tap relu)"));
  EXPECT_THAT(complaint(model, find_criterion("wanda"), good), HasSubstr("no tap norms of layer"));
  bad = take_statistics(model, probes_for(find_criterion("wanda"), model.graph), input, kSamples);
  bad.tap_norms.begin()->second.norm_sq[0] = std::numeric_limits<double>::infinity();
  EXPECT_THAT(complaint(model, find_criterion("wanda"), bad), HasSubstr("not all finite"));
  EXPECT_EQ(complaint(model, find_criterion("magnitude"), {}), "no InputError");  // needs none
}

}  // namespace
}  // namespace elek::test
