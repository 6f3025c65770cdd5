// SPDX-License-Identifier: Apache-2.0
// quantize() on small networks of every kind: what it returns is a valid quantised model that computes nearly the same, its
// ranges are those of the values, and misuse is refused.
#include "elek/quantize.h"

#include <gmock/gmock.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/prune.h"
#include "elek/train.h"
#include "graph/integer_values.h"
#include "tests/golden/session_support.h"
#include "tests/prune/array_source.h"

namespace elek {
namespace {

using test::ArraySource;
using test::Kind;
using test::kinds;
using ::testing::HasSubstr;

constexpr int64_t kImages = 60, kBatch = 7;

SessionOptions options_in(Precision precision) {
  SessionOptions options;
  options.batch = kBatch;
  options.threads = 2;
  options.precision = precision;
  return options;
}

Model quantised(const Model& model, const QuantizeOptions& how, QuantizeReport& report, uint64_t seed = 5) {
  ArraySource images(test::tiny_pixels(model.graph.input_shape(), kImages, seed), kImages);
  return quantize(model, images, options_in(Precision::kF32), how, {}, report);
}

Model quantised(const Model& model, WeightRounding rounding) {
  QuantizeReport report;
  QuantizeOptions how;
  how.rounding = rounding;
  return quantised(model, how, report);
}

std::vector<float> logits_of(const Model& model, Precision precision, uint64_t seed) {
  const std::vector<uint8_t> pixels = test::tiny_pixels(model.graph.input_shape(), kImages, seed);
  Session session(model, options_in(precision));
  return test::run_all(session, pixels, kImages, kBatch);
}

/// Mean squared difference, as a share of b's mean square.
double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0, total = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += (double{a[i]} - double{b[i]}) * (double{a[i]} - double{b[i]});
    total += double{b[i]} * double{b[i]};
  }
  return error / total;
}

TEST(QuantizeTest, EveryKindOfNetworkComputesNearlyTheSame) {
  for (const Kind& kind : kinds()) {
    const Model model = test::tiny_resnet(kind.tiny);
    const std::vector<float> exact = logits_of(model, Precision::kF32, 9);
    for (const WeightRounding rounding : {WeightRounding::kNearest, WeightRounding::kMoments}) {
      const Model made = quantised(model, rounding);
      validate(made, "test");
      EXPECT_FALSE(made.quantization.layers.empty()) << kind.name;
      // Some twenty roundings of 1/255 of the range each, and ranges that clip a little: well below a percent of the power.
      EXPECT_LT(difference(logits_of(made, Precision::kInt8, 9), exact), 0.01) << kind.name << " " << name_of(rounding);
      ASSERT_FALSE(made.history.empty());
      EXPECT_EQ(made.history.back().action, "quantize");
      EXPECT_EQ(made.history.back().calibration_samples, kImages);
      EXPECT_EQ(made.history.back().source_hash, to_hex(hash(model)));
    }
  }
}

TEST(QuantizeTest, MomentsAreNearerOnTheCalibrationImages) {
  // On the images themselves the rounding that looks at them must win, network by network.
  for (const Kind& kind : kinds()) {
    const Model model = test::tiny_resnet(kind.tiny);
    const std::vector<float> exact = logits_of(model, Precision::kF32, 5);
    const double nearest = difference(logits_of(quantised(model, WeightRounding::kNearest), Precision::kInt8, 5), exact);
    const double moments = difference(logits_of(quantised(model, WeightRounding::kMoments), Precision::kInt8, 5), exact);
    EXPECT_LT(moments, nearest) << kind.name;
  }
}

TEST(QuantizeTest, KeptActivationsChangeNothing) {
  const Model model = test::tiny_resnet();
  QuantizeReport report;
  QuantizeOptions how;
  how.rounding = WeightRounding::kMoments;
  const Model without = quantised(model, how, report);
  how.keep_activations_bytes = size_t{64} << 20;
  const Model with = quantised(model, how, report);
  EXPECT_EQ(hash(without), hash(with));
}

TEST(QuantizeTest, SaysWhichLayersStayFloats) {
  const Model model = test::tiny_resnet({.bottleneck = true, .widths = {8, 12}, .groups = 4});
  QuantizeReport report;
  QuantizeOptions how;
  how.keep = {"conv1"};
  const Model made = quantised(model, how, report);
  int64_t convolutions = 0;
  for (const QuantizedLayer& layer : report.layers) {
    const Node& node = made.graph.node(made.graph.at(layer.name));
    EXPECT_EQ(layer.why_not.empty(), made.quantization.layers.contains(layer.name)) << layer.name;
    const bool grouped = node.is<Conv2dAttrs>() && node.as<Conv2dAttrs>().groups > 1;
    const std::string why = layer.name == "conv1" ? "request" : layer.name == "fc" ? "linear" : grouped ? "groups" : "";
    EXPECT_EQ(layer.why_not.empty(), why.empty()) << layer.name << ": " << layer.why_not;
    EXPECT_THAT(layer.why_not, HasSubstr(why));
    if (layer.why_not.empty()) ++convolutions;
  }
  EXPECT_EQ(report.quantized(), convolutions);
  EXPECT_EQ(report.samples, kImages);
  EXPECT_EQ(std::ssize(made.quantization.layers), convolutions);
}

TEST(QuantizeTest, GridsHaveNoSignBehindARelu) {
  const Model made = quantised(test::tiny_resnet({.max_pool = true}), WeightRounding::kNearest);
  for (const auto& [name, grid] : made.quantization.values) {
    const bool input = made.graph.node(made.graph.at(name)).is<InputAttrs>();
    EXPECT_EQ(grid.is_signed, input) << name;  // in a ResNet every other value that is read lies behind a ReLU
  }
  const auto& values = made.quantization.values;
  ASSERT_TRUE(values.contains("maxpool"));
  EXPECT_EQ(values.at("maxpool"), values.at("relu"));  // so that the pool runs on integers
}

TEST(QuantizeTest, MisuseIsRefused) {
  const Model model = test::tiny_resnet();
  QuantizeReport report;
  const Model made = quantised(model, WeightRounding::kNearest);
  EXPECT_THROW((void)quantised(made, {}, report), UsageError);
  EXPECT_THROW((void)quantised(model, {.keep = {"no such layer"}}, report), UsageError);
  QuantizeOptions everything;
  for (const Node& node : model.graph.nodes()) {
    if (has_weights(node)) everything.keep.insert(node.name);
  }
  EXPECT_THROW((void)quantised(model, everything, report), UsageError);
  ArraySource none({}, 0);
  EXPECT_THROW((void)quantize(model, none, options_in(Precision::kF32), {}, {}, report), InputError);
  EXPECT_THROW(Session(model, options_in(Precision::kInt8)), UsageError);
  EXPECT_THROW((void)weight_rounding_from_name("up"), UsageError);
}

TEST(QuantizeTest, AQuantisedNetworkIsNotCutOrTrained) {
  const Model made = quantised(test::tiny_resnet(), WeightRounding::kNearest);
  ArraySource images(test::tiny_pixels(made.graph.input_shape(), kImages, 5), kImages);
  CutObserver observer;
  EXPECT_THROW((void)cut(made, images, nullptr, {}, observer), UsageError);
  DistillReport report;
  EXPECT_THROW((void)distill(made, made, images, options_in(Precision::kF32), {}, {}, report), UsageError);
}

TEST(QuantizeTest, AnInterruptEndsIt) {
  const Model model = test::tiny_resnet();
  ArraySource images(test::tiny_pixels(model.graph.input_shape(), kImages, 5), kImages);
  QuantizeReport report;
  int64_t most = 0, all = 0;
  const auto progress = [&](int64_t done, int64_t total) {
    most = done, all = total;
    if (done > total / 2) request_interrupt();
  };
  QuantizeOptions how;
  how.rounding = WeightRounding::kMoments;
  EXPECT_THROW((void)quantize(model, images, options_in(Precision::kF32), how, progress, report), Interrupted);
  clear_interrupt();
  EXPECT_GT(most, all / 2);
  EXPECT_LT(most, all);
  EXPECT_FALSE(images.running());
}

}  // namespace
}  // namespace elek
