// SPDX-License-Identifier: Apache-2.0
// The seed's four metrics, its Wanda and L1 magnitude from a session's sums, compared with the definitions computed from whole
// stored activations: spatial means per sample, the layer's largest of them, samples in which a channel fires.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/error.h"
#include "core/sums.h"
#include "elek/session.h"
#include "graph/passes.h"
#include "prune/layer_weights.h"
#include "prune/score.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 5;

Statistics from_session(const Model& model, const Probes& probes, const std::vector<uint8_t>& pixels) {
  SessionOptions options;
  options.batch = 3;
  options.threads = 1;
  options.probes = probes;
  Session session(model, options);
  ArraySource source(pixels, kSamples);
  source.start(session.slots());
  for (const Slot* slot = source.next(); slot != nullptr; slot = source.next()) (void)session.run(*slot);
  return session.statistics();
}

/// One channel's score in one activation [samples, C, H, W], as the seed's first version computed it.
double by_definition(const std::string& criterion, const std::vector<double>& values, int64_t channels, int64_t c) {
  const int64_t positions = std::ssize(values) / kSamples / channels;
  const auto mean_of = [&](int64_t n, int64_t channel) {
    double sum = 0;
    for (int64_t p = 0; p < positions; ++p) sum += values[at((n * channels + channel) * positions + p)];
    return sum / static_cast<double>(positions);
  };
  double fired = 0, mean = 0, absolute = 0, largest = mean_of(0, 0);
  for (int64_t n = 0; n < kSamples; ++n) {
    bool some = false;
    for (int64_t p = 0; p < positions; ++p) {
      const double v = values[at((n * channels + c) * positions + p)];
      some = some || v > 0;
      absolute += std::fabs(v) / static_cast<double>(kSamples * positions);
    }
    fired += some ? 1.0 / kSamples : 0.0;
    mean += mean_of(n, c) / kSamples;
    for (int64_t k = 0; k < channels; ++k) largest = std::max(largest, mean_of(n, k));
  }
  const double normalized = largest > 0 ? mean / largest : 0;
  if (criterion == "frequency") return fired;
  if (criterion == "normalized_mean") return normalized;
  if (criterion == "mean_absolute") return absolute;
  return std::sqrt(std::max(0.0, normalized * fired));
}

/// The watched numbers of a tap: the stored value, or the raw output of the convolution whose step stores it.
std::string looked_at(const Graph& graph, ValueId value, Tap tap) {
  if (tap == Tap::kRelu) return graph.node(value).name;
  for (const FusedNode& step : fuse(graph).steps) {
    if (step.output == value && step.node.is<Conv2dAttrs>()) return step.node.name;
  }
  return graph.node(value).name;
}

TEST(SeedMetrics, EqualTheirDefinitionsOverStoredActivations) {
  for (const Model& model : {tiny_resnet(TinyOptions{}), tiny_resnet(tiny_bottleneck_options())}) {
    const std::vector<Group> groups = find_groups(model.graph);
    const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 2);
    const ReferenceValues run = run_reference(model, pixels, kSamples);
    for (const Tap tap : {Tap::kRelu, Tap::kConv}) {
      for (const std::string name : {"frequency", "normalized_mean", "mean_absolute", "combined"}) {
        const Criterion& criterion = find_criterion(name);
        const Statistics statistics = from_session(model, probes_for(criterion, model.graph, tap), pixels);
        const auto got = score_channels(model, groups, criterion, statistics, 0);
        for (size_t g = 0; g < groups.size(); ++g) {
          const Group& group = groups[g];
          if (!group.prunable) continue;
          ASSERT_EQ(std::ssize(got[g]), group.channels);
          for (int64_t c = 0; c < group.channels; ++c) {
            double sum = 0;  // signed squares over the group's taps
            for (const ValueId t : group.watched) {
              const double s = by_definition(name, run.at(looked_at(model.graph, t, tap)), group.channels, c);
              sum += s * std::fabs(s);
            }
            const double want = std::copysign(std::sqrt(std::fabs(sum)), sum);
            // Sums in f32 of fewer than 200 terms from an f32 forward; a root of a small difference loses half the digits.
            EXPECT_TRUE(std::fabs(got[g][at(c)] - want) <= 2e-3 * std::max(1.0, std::fabs(want)))
                << name << (tap == Tap::kConv ? " conv " : " relu ") << group.name << " channel " << c << ": " << got[g][at(c)]
                << ", expected " << want;
          }
        }
      }
    }
  }
}

TEST(SeedMetrics, WandaIsTheProducersNormTimesItsMeanActivation) {
  const Model model = tiny_resnet(TinyOptions{});
  const std::vector<Group> groups = find_groups(model.graph);
  const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 2);
  const ReferenceValues run = run_reference(model, pixels, kSamples);
  const Statistics statistics = from_session(model, probes_for(find_criterion("wanda-seed"), model.graph), pixels);
  const auto got = score_channels(model, groups, find_criterion("wanda-seed"), statistics, 0);
  int64_t checked = 0;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Group& group = groups[g];
    if (!group.prunable || group.producers.size() != 1 || group.watched.size() != 1) continue;  // inner channels of a block
    const LayerWeights layer = layer_weights(model, group.producers[0]);
    const std::vector<double>& values = run.at(model.graph.node(group.watched[0]).name);
    const int64_t positions = std::ssize(values) / kSamples / group.channels;
    for (int64_t c = 0; c < group.channels; ++c) {
      double norm = 0, mean = 0;
      for (int64_t j = 0; j < layer.columns(); ++j) {
        const double w = static_cast<double>(layer.data[at(c * layer.columns() + j)]);
        norm += w * w;
      }
      for (int64_t i = 0; i < kSamples * positions; ++i) {
        mean += values[at((i / positions * group.channels + c) * positions + i % positions)];
      }
      const double want = std::sqrt(norm) * std::fabs(mean / static_cast<double>(kSamples * positions));
      EXPECT_NEAR(got[g][at(c)], want, 1e-4 * (1 + want)) << group.name << " channel " << c;
      ++checked;
    }
  }
  EXPECT_GT(checked, 20);
}

TEST(SeedMetrics, CriteriaAboutReadersRefuseTheTapConv) {
  const Graph graph = tiny_graph();
  EXPECT_THROW((void)probes_for(find_criterion("std-consumer"), graph, Tap::kConv), UsageError);
  EXPECT_THROW((void)probes_for(find_criterion("wanda"), graph, Tap::kConv), UsageError);
  EXPECT_EQ(probes_for(find_criterion("combined"), graph, Tap::kConv).tap, Tap::kConv);
  EXPECT_TRUE(probes_for(find_criterion("magnitude-l1"), graph).empty());
}

TEST(SeedMetrics, L1MagnitudeAddsEveryCoupledWeightOnce) {
  const Model model = tiny_basic(2);
  const std::vector<Group> groups = find_groups(model.graph);
  const auto got = score_channels(model, groups, find_criterion("magnitude-l1"), Statistics{}, 0);
  for (size_t g = 0; g < groups.size(); ++g) {
    if (!groups[g].prunable) continue;
    double total = 0, want = 0;
    for (const double s : got[g]) total += s;
    const auto all = [&](ValueId node) {
      for (const float w : layer_weights(model, node).data) want += std::fabs(static_cast<double>(w));
    };
    for (const ValueId producer : groups[g].producers) all(producer);
    for (const GroupConsumer& edge : groups[g].consumers) all(edge.node);
    EXPECT_NEAR(total, want, 1e-9 * want) << groups[g].name;
  }
}

}  // namespace
}  // namespace elek::test
