// SPDX-License-Identifier: Apache-2.0
// Sessions watch what the criteria ask for, and the scores from their sums are those from the interpreter's values.
#include <gmock/gmock.h>

#include <algorithm>

#include "elek/session.h"
#include "prune/score.h"
#include "tests/prune/array_source.h"
#include "tests/prune/networks.h"
#include "tests/support/compare.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 5;
constexpr int64_t kBatch = 3;

Statistics from_session(const Model& model, const Probes& probes, const std::vector<uint8_t>& pixels) {
  SessionOptions options;
  options.batch = kBatch;
  options.probes = probes;
  Session session(model, options);
  ArraySource source(pixels, kSamples);
  source.start(session.slots());
  for (const Slot* slot = source.next(); slot != nullptr; slot = source.next()) (void)session.run(*slot);
  return session.statistics();
}

/// The pixels as the network sees them, [samples, C, H, W].
std::vector<float> preprocessed(const Model& model, const std::vector<uint8_t>& pixels) {
  const std::vector<double> input = run_reference(model, pixels, kSamples).at(model.graph.nodes()[0].name);
  return {input.begin(), input.end()};
}

TEST(SessionScores, EqualTheInterpretersForEveryCriterion) {
  TinyOptions pooled;
  pooled.max_pool = true;
  const std::vector<Model> models = {tiny_resnet(TinyOptions{}), tiny_resnet(tiny_bottleneck_options()), tiny_resnet(pooled),
                                     depthwise_and_flatten(7)};
  for (const Model& model : models) {
    const std::vector<Group> groups = find_groups(model.graph);
    const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 2);
    for (const std::string name : {"std-consumer", "positions", "rms", "std", "wanda"}) {
      const Criterion& criterion = find_criterion(name);
      const Probes probes = probes_for(criterion, model.graph);
      const auto got = score_channels(model, groups, criterion, from_session(model, probes, pixels), 0);
      const Statistics statistics = take_statistics(model, probes, preprocessed(model, pixels), kSamples);
      const auto want = score_channels(model, groups, criterion, statistics, 0);
      for (size_t g = 0; g < groups.size(); ++g) {
        if (!groups[g].prunable) continue;
        // The session computes in f32: values near zero may fall on either side of it, which moves `positions` by 1 / count.
        const double largest = *std::max_element(want[g].begin(), want[g].end());
        const double atol = name == "positions" ? 5e-3 : 1e-3 * largest;
        const Mismatch m = compare(got[g], want[g], atol);
        EXPECT_EQ(m.count, 0) << name << ", group " << groups[g].name << ": " << m.message();
      }
    }
    const Statistics norms = from_session(model, probes_for_weights(model.graph), pixels);
    EXPECT_NO_THROW(check_statistics(model, norms, probes_for_weights(model.graph)));
  }
}

}  // namespace
}  // namespace elek::test
