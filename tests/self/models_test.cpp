// SPDX-License-Identifier: Apache-2.0
// The small models: valid, the same each time, varied enough to show defects, and exact in f32 where they promise it.
#include "tests/support/models.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tests/support/reference.h"

namespace elek::test {
namespace {

TEST(TinyModels, AreValidAndHaveBothShortcutKinds) {
  for (const TinyOptions& options : {TinyOptions{}, tiny_bottleneck_options(), tiny_integer_options()}) {
    EXPECT_NO_THROW(validate(tiny_resnet(options), "tiny"));
  }
  const Graph graph = tiny_graph();
  EXPECT_GE(graph.find("layer2.0.shortcut"), 0);
  EXPECT_GE(graph.find("layer3.0.downsample.0"), 0);
  EXPECT_EQ(graph.node(graph.at("layer3.1")).shape, (ImageShape{24, 3, 3}));
  const Graph grouped = tiny_graph(tiny_bottleneck_options());
  EXPECT_EQ(grouped.node(grouped.at("layer2.0.conv2")).as<Conv2dAttrs>().groups, 4);
}

TEST(TinyModels, AreTheSameForTheSameSeedOnly) {
  TinyOptions other;
  other.seed = 2;
  EXPECT_EQ(hash(tiny_resnet()), hash(tiny_resnet()));
  EXPECT_NE(hash(tiny_resnet()), hash(tiny_resnet(other)));
  EXPECT_EQ(tiny_pixels({3, 4, 5}, 2, 9), tiny_pixels({3, 4, 5}, 2, 9));
  EXPECT_NE(tiny_pixels({3, 4, 5}, 2, 9), tiny_pixels({3, 4, 5}, 2, 8));
}

TEST(TinyModels, LogitsDependOnTheSample) {
  const Model model = tiny_resnet();
  const ReferenceValues run = run_reference(model, tiny_pixels(model.graph.input_shape(), 3, 5), 3);
  const std::vector<double>& logits = run.logits();
  ASSERT_EQ(logits.size(), 30U);
  EXPECT_EQ(std::set<double>(logits.begin(), logits.end()).size(), logits.size()) << "no two logits alike";
  EXPECT_TRUE(std::all_of(logits.begin(), logits.end(), [](double v) { return std::isfinite(v) && std::fabs(v) < 1e3; }));
}

TEST(TinyModels, IntegerModelIsExactInF32) {
  // Sums of k terms are exact in any order if the terms are multiples of u and k * max|term| < 2^24 u. Terms of convolutions
  // are activations times -1, 0, 1; u is 1, after the average over 8 positions 1/8; the widest filter has 3 nonzero taps.
  const TinyOptions options = tiny_integer_options();
  const Model model = tiny_resnet(options);
  const ReferenceValues run = run_reference(model, tiny_pixels(options.input, 4, 3, true), 4);
  double largest = 0;
  for (const auto& [name, values] : run.values) {
    for (const double value : values) {
      ASSERT_EQ(value * 8, std::round(value * 8)) << name;
      largest = std::max(largest, std::fabs(value));
    }
  }
  EXPECT_GT(largest, 1);
  EXPECT_LT(largest * 3 * 8, 0x1p24);
  EXPECT_LT(largest * 8 * 8, 0x1p24) << "the sum of the average pool";
  EXPECT_TRUE(std::any_of(run.logits().begin(), run.logits().end(), [](double v) { return v != 0; }));
}

}  // namespace
}  // namespace elek::test
