// SPDX-License-Identifier: Apache-2.0
// The rules of quantised models: which values are rounded where, integers from weights and back, checks that name what is
// wrong, and folding of batch norms.
#include <gmock/gmock.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "graph/integer_values.h"
#include "tests/support/models.h"
#include "tests/support/reference.h"

namespace elek {
namespace {

using ::testing::HasSubstr;

/// input -> conv1 -> relu1 -> pool -> conv2 -> sum (with pool) -> relu2 -> mean -> fc. All convolutions quantised, by hand.
Model small() {
  Model model;
  Graph& g = model.graph;
  const ValueId input = g.add("input", InputAttrs{{1, 4, 4}}, {});
  const Conv2dAttrs conv{.out_channels = 2, .kernel = 3, .stride = 1, .padding = 1, .groups = 1, .bias = true};
  const ValueId relu1 = g.add("relu1", ReluAttrs{}, {g.add("conv1", conv, {input})});
  const ValueId pool = g.add("pool", MaxPoolAttrs{{2, 2, 0}}, {relu1});
  const ValueId sum = g.add("sum", AddAttrs{}, {g.add("conv2", conv, {pool}), pool});
  const ValueId mean = g.add("mean", GlobalAvgPoolAttrs{}, {g.add("relu2", ReluAttrs{}, {sum})});
  g.set_output(g.add("fc", LinearAttrs{.out_features = 3, .bias = true}, {g.add("flat", FlattenAttrs{}, {mean})}));
  model.parameters = test::tiny_parameters(g, 1);
  model.preprocessing = {{0.5F}, {0.5F}};
  for (const char* layer : {"conv1", "conv2"}) {
    const std::string name = std::string(layer) + ".weight";
    Tensor weight = model.parameter(name).clone(host_resource(), "test");
    for (float& w : weight.f32()) w = std::nearbyint(w * 20) * 0.05F;
    model.parameters[name] = std::make_shared<const Tensor>(std::move(weight));
    model.quantization.layers[layer] = {0.05F, 0.05F};
  }
  model.quantization.values = {{"input", {0.02F, true}}, {"relu1", {0.03F, false}}, {"pool", {0.03F, false}}};
  return model;
}

std::vector<std::string> rounded_names(const Model& model) {
  std::vector<std::string> names;
  for (const auto& [value, grid] : integer_values(model.graph, fuse(model.graph), model.quantization)) {
    names.push_back(model.graph.node(value).name);
  }
  return names;
}

TEST(QuantizationTest, ValuesAreRoundedWhereAQuantisedConvolutionMakesThem) {
  Model model = small();
  validate(model, "test");
  EXPECT_EQ(rounded_names(model), (std::vector<std::string>{"relu1", "pool"}));  // the input is rounded where it is read
  model.quantization.values["pool"].scale = 0.04F;                               // another grid: the pool is rounded by conv2
  EXPECT_EQ(rounded_names(model), (std::vector<std::string>{"relu1"}));
  model.quantization.layers.erase("conv1");
  EXPECT_TRUE(rounded_names(model).empty());
}

TEST(QuantizationTest, OnGridRoundsClampsAndTakesNaNAsTheLowest) {
  const IntegerGrid plain{0.5F, false}, sign{0.5F, true};
  EXPECT_EQ(on_grid(0.7F, plain), 0.5F);
  EXPECT_EQ(on_grid(0.75F, plain), 1.0F);  // 1.5 steps: to even
  EXPECT_EQ(on_grid(1.25F, plain), 1.0F);  // 2.5 steps: to even
  EXPECT_EQ(on_grid(-3, plain), 0);
  EXPECT_EQ(on_grid(1e30F, plain), 127.5F);
  EXPECT_EQ(on_grid(-1e30F, sign), -64);
  EXPECT_EQ(on_grid(1e30F, sign), 63.5F);
  EXPECT_EQ(on_grid(std::numeric_limits<float>::quiet_NaN(), plain), 0);
  EXPECT_EQ(on_grid(std::numeric_limits<float>::quiet_NaN(), sign), -64);
}

TEST(QuantizationTest, IntegersComeBackExactly) {
  std::vector<float> weights, scales{0.013F, 3e-5F, 7.0F};
  for (const float scale : scales) {
    for (int q = -127; q <= 127; ++q) weights.push_back(static_cast<float>(q) * scale);
  }
  std::vector<int8_t> integers(weights.size());
  to_integers("layer", weights, scales, integers);
  for (size_t i = 0; i < integers.size(); ++i) EXPECT_EQ(integers[i], static_cast<int>(i % 255) - 127);
  weights[300] += 0.3F * scales[1];
  EXPECT_THROW(to_integers("layer", weights, scales, integers), ContractError);
  weights[300] = 128 * scales[1];
  EXPECT_THROW(to_integers("layer", weights, scales, integers), ContractError);
}

TEST(QuantizationTest, ValidationNamesWhatIsWrong) {
  const auto refused = [](const std::function<void(Model&)>& damage, const std::string& who, const std::string& what) {
    Model model = small();
    damage(model);
    try {
      validate(model, "the file");
      FAIL() << "no error: " << what;
    } catch (const InputError& error) {
      EXPECT_THAT(error.what(), testing::AllOf(HasSubstr("the file"), HasSubstr(who), HasSubstr(what)));
    }
  };
  refused([](Model& m) { m.quantization.values["nowhere"] = {}; }, "'nowhere'", "no such value");
  refused([](Model& m) { m.quantization.values["pool"].scale = 0; }, "'pool'", "positive");
  refused([](Model& m) { m.quantization.values["pool"].scale = std::numeric_limits<float>::quiet_NaN(); }, "'pool'",
          "positive");
  refused([](Model& m) { m.quantization.values.erase("pool"); }, "'conv2'", "'pool' has no scale");
  refused([](Model& m) { m.quantization.layers["nowhere"] = {1.0F}; }, "'nowhere'", "no such layer");
  refused([](Model& m) { m.quantization.layers["fc"] = {1.0F, 1.0F, 1.0F}; }, "'fc'", "linear");
  refused([](Model& m) { m.quantization.layers["conv2"].pop_back(); }, "'conv2'", "2 finite positive scales");
  refused([](Model& m) { m.quantization.layers["conv2"][1] = -1; }, "'conv2'", "positive scales");
  refused([](Model& m) { m.quantization.layers["conv2"][1] *= 1.3F; }, "'conv2'", "integers");
}

TEST(QuantizationTest, TheHashCoversScales) {
  const Model model = small();
  Model other = model;
  other.quantization.values["pool"].scale *= 1.5F;
  EXPECT_NE(hash(model), hash(other));
  other = model;
  other.quantization.layers["conv1"][0] *= 2;
  EXPECT_NE(hash(model), hash(other));
  other = model;
  other.quantization = {};
  EXPECT_NE(hash(model), hash(other));
}

TEST(QuantizationTest, FoldingKeepsWhatTheNetworkComputes) {
  for (const auto& options : {test::TinyOptions{}, test::tiny_bottleneck_options()}) {
    const Model model = test::tiny_resnet(options);
    const Model folded = fold_batch_norms(model);
    validate(folded, "folded");
    for (const Node& node : folded.graph.nodes()) EXPECT_FALSE(node.is<BatchNormAttrs>()) << node.name;
    const std::vector<uint8_t> pixels = test::tiny_pixels(model.graph.input_shape(), 2, 1);
    const auto before = test::run_reference(model, pixels, 2), after = test::run_reference(folded, pixels, 2);
    double largest = 0;
    for (const double v : before.logits()) largest = std::max(largest, std::fabs(v));
    for (size_t i = 0; i < before.logits().size(); ++i) {
      EXPECT_NEAR(after.logits()[i], before.logits()[i], 1e-5 * largest);  // weights and biases are rounded to f32 again
    }
  }
}

TEST(QuantizationTest, WhatMustStayFloatSaysWhy) {
  const Model model = small();
  const FusedGraph fused = fuse(model.graph);
  for (const FusedNode& step : fused.steps) {
    const bool convolution = step.node.is<Conv2dAttrs>();
    EXPECT_EQ(why_not_quantised(step).empty(), convolution) << step.node.name;
  }
  FusedNode grouped = fused.steps.front();
  std::get<Conv2dAttrs>(grouped.node.attrs).groups = 2;
  EXPECT_THAT(why_not_quantised(grouped), HasSubstr("groups"));
  FusedNode smooth = fused.steps.front();
  smooth.activation.kind = Activation::Kind::kSigmoid;
  EXPECT_THAT(why_not_quantised(smooth), HasSubstr("clamp"));
}

}  // namespace
}  // namespace elek
