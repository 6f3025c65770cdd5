// SPDX-License-Identifier: Apache-2.0
// Fusion and folding. Structure is compared as text, one line per step. Meaning is compared by evaluating the fused steps in
// double and the reference interpreter, which has neither fusion nor folding, on the small models and on random graphs.
#include "graph/passes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "core/error.h"
#include "core/runtime.h"
#include "tests/support/activation.h"
#include "tests/support/compare.h"
#include "tests/support/faulty.h"
#include "tests/support/models.h"
#include "tests/support/reference.h"

namespace elek {
namespace {

using test::compare;
using test::Mismatch;
using test::ReferenceValues;
using test::tensor_of;
using test::TinyOptions;

Conv2dAttrs conv(int64_t channels, int64_t kernel = 1, int64_t stride = 1, int64_t groups = 1, bool bias = false) {
  return {channels, kernel, stride, kernel / 2, groups, bias};
}

/// "anchor(input)[ batch_norm][ + residual][ relu] -> output"
std::string describe(const Graph& graph, const FusedNode& step) {
  const auto name = [&](ValueId value) { return graph.node(value).name; };
  std::string text = step.node.name + "(" + name(step.input) + ")";
  if (!step.batch_norm.empty()) {
    text.append(" ").append(step.batch_norm);
  }
  if (step.residual) {
    text.append(" + ").append(name(*step.residual));
  }
  if (!step.activation.is_none()) text.append(" ").append(name_of(step.activation.kind));
  return text.append(" -> ").append(name(step.output));
}

using Lines = std::vector<std::string>;
Lines lines(const Graph& graph) {
  Lines text;
  for (const FusedNode& step : fuse(graph).steps) {
    text.push_back(describe(graph, step));
  }
  return text;
}

/// A stored value and how far rounding of folded weights may have moved each element.
struct Evaluated {
  std::vector<double> value, error;
};

/// conv(x) + b by the step's own weights. Folding rounds each weight and bias once to f32, u = 2^-24 relative, so
/// error = |w| * error_in + u (|w| * (|x| + error_in) + |b|) with |w|, |b| as rounded; smallest normals add 2^-149 a product.
Evaluated multiply(const Model& model, const FusedNode& step, BatchNorm mode, const Evaluated& in, const ImageShape& shape,
                   int64_t samples) {
  const ConvWeights weights = conv_weights(model, step, mode, host_resource());
  const Conv2dAttrs attrs = step.node.is<Conv2dAttrs>() ? step.node.as<Conv2dAttrs>() : conv(step.node.shape.channels);
  std::vector<float> w(weights.weight.f32().begin(), weights.weight.f32().end());
  std::vector<float> b(weights.bias.f32().begin(), weights.bias.f32().end());
  Evaluated out;
  out.value = test::reference_conv2d(in.value, samples, shape, attrs, w, b);
  const double u = mode == BatchNorm::kFold && !step.batch_norm.empty() ? 0x1.0p-24 : 0.0;
  std::transform(w.begin(), w.end(), w.begin(), [](float v) { return std::fabs(v); });
  std::vector<double> moved(in.value.size());
  for (size_t i = 0; i < moved.size(); ++i) {
    moved[i] = in.error[i] + 1.0001 * u * (std::fabs(in.value[i]) + in.error[i]) + u * 0x1.0p-100;
  }
  out.error = test::reference_conv2d(moved, samples, shape, attrs, w, {});
  const size_t positions = out.value.size() / static_cast<size_t>(samples) / b.size();
  for (size_t i = 0; i < out.error.size(); ++i) {
    out.error[i] += 1.0001 * u * std::fabs(double{b[i / positions % b.size()]}) + u * 0x1.0p-100;
  }
  return out;
}

/// y = (x - mean) / sqrt(var + eps) * gamma + beta by the running statistics; the error grows by the scale.
void normalise(const Model& model, const std::string& name, Evaluated& x, int64_t samples) {
  const auto gamma = model.parameter(name + ".weight").f32();
  const auto beta = model.parameter(name + ".bias").f32();
  const auto mean = model.parameter(name + ".running_mean").f32();
  const auto variance = model.parameter(name + ".running_var").f32();
  const double eps = model.graph.node(model.graph.at(name)).as<BatchNormAttrs>().eps;
  const size_t positions = x.value.size() / static_cast<size_t>(samples) / gamma.size();
  for (size_t i = 0; i < x.value.size(); ++i) {
    const size_t c = i / positions % gamma.size();
    const double scale = double{gamma[c]} / std::sqrt(double{variance[c]} + eps);
    x.value[i] = (x.value[i] - double{mean[c]}) * scale + double{beta[c]};
    x.error[i] *= std::fabs(scale);
  }
}

/// Runs the steps on the reference's input. Every value read must have been stored by an earlier step: `at` throws otherwise.
std::map<ValueId, Evaluated> evaluate(const Model& model, const FusedGraph& fused, BatchNorm mode,
                                      const ReferenceValues& reference) {
  const Graph& graph = model.graph;
  const int64_t samples = reference.samples;
  std::map<ValueId, Evaluated> stored;
  const std::vector<double>& input = reference.at(graph.node(fused.input).name);
  stored[fused.input] = {input, std::vector<double>(input.size(), 0.0)};
  for (const FusedNode& step : fused.steps) {
    const Evaluated& in = stored.at(step.input);
    const ImageShape& shape = graph.node(step.input).shape;
    Evaluated out;
    if (step.node.is<Conv2dAttrs>() || step.node.is<LinearAttrs>()) {
      out = multiply(model, step, mode, in, shape, samples);
      if (mode == BatchNorm::kApart && !step.batch_norm.empty()) {
        normalise(model, step.batch_norm, out, samples);
      }
    } else if (step.node.is<BatchNormAttrs>()) {
      out = in;
      normalise(model, step.node.name, out, samples);
    } else if (step.node.is<AddAttrs>()) {
      out = in;  // the second operand is the step's residual
    } else {
      const std::span<const double> error = in.error;
      out.value = test::reference_node(step.node, samples, shape, {in.value});
      out.error = step.node.is<ReluAttrs>() ? in.error : test::reference_node(step.node, samples, shape, {error});
    }
    for (size_t i = 0; step.residual && i < out.value.size(); ++i) {
      out.value[i] += stored.at(*step.residual).value[i];
      out.error[i] += stored.at(*step.residual).error[i];
    }
    for (size_t i = 0; step.activation.is_relu() && i < out.value.size(); ++i) {
      out.value[i] = out.value[i] < 0 ? 0.0 : out.value[i];
    }
    EXPECT_TRUE(stored.emplace(step.output, std::move(out)).second) << "value stored twice: " << describe(graph, step);
  }
  EXPECT_TRUE(stored.contains(fused.output));
  return stored;
}

/// Every stored value equals the reference's, up to the error bound and the rounding of double sums (1e-12 of the largest).
void expect_same(const Model& model, BatchNorm mode, const ReferenceValues& reference) {
  const FusedGraph fused = fuse(model.graph);
  for (const auto& [value, got] : evaluate(model, fused, mode, reference)) {
    const std::string& name = model.graph.node(value).name;
    const std::vector<double>& want = reference.at(name);
    ASSERT_EQ(got.value.size(), want.size()) << name;
    double largest = 1;
    for (const double each : want) {
      largest = std::max(largest, std::fabs(each));
    }
    std::vector<double> ratio(want.size());  // difference in units of what is allowed
    for (size_t i = 0; i < ratio.size(); ++i) {
      ratio[i] = (got.value[i] - want[i]) / (got.error[i] + 1e-12 * largest);
    }
    const Mismatch m = compare(ratio, std::vector<double>(ratio.size(), 0.0), 1.0);
    EXPECT_EQ(m.count, 0) << name << ": " << m.message();
  }
}

constexpr BatchNorm kModes[] = {BatchNorm::kFold, BatchNorm::kApart};

TEST(Fuse, ResNetBlocksOfAllThreeShortcuts) {
  TinyOptions options;
  options.blocks = 1;
  options.max_pool = true;
  const Graph graph = test::tiny_graph(options);
  const Lines want = {
      "conv1(input) bn1 relu -> relu",
      "maxpool(relu) -> maxpool",
      "layer1.0.conv1(maxpool) layer1.0.bn1 relu -> layer1.0.relu1",
      "layer1.0.conv2(layer1.0.relu1) layer1.0.bn2 + maxpool relu -> layer1.0",  // identity
      "layer2.0.conv1(layer1.0) layer2.0.bn1 relu -> layer2.0.relu1",
      "layer2.0.shortcut(layer1.0) -> layer2.0.shortcut",  // option A
      "layer2.0.conv2(layer2.0.relu1) layer2.0.bn2 + layer2.0.shortcut relu -> layer2.0",
      "layer3.0.conv1(layer2.0) layer3.0.bn1 relu -> layer3.0.relu1",
      "layer3.0.conv2(layer3.0.relu1) layer3.0.bn2 -> layer3.0.bn2",  // option B: the projection runs last
      "layer3.0.downsample.0(layer2.0) layer3.0.downsample.1 + layer3.0.bn2 relu -> layer3.0",
      "avgpool(layer3.0) -> avgpool",
      "flatten(avgpool) -> flatten",
      "fc(flatten) -> fc",
  };
  EXPECT_EQ(lines(graph), want);
  const FusedGraph fused = fuse(graph);
  EXPECT_EQ(fused.input, graph.at("input"));
  EXPECT_EQ(fused.output, graph.at("fc"));
  EXPECT_EQ(fused.steps[3].preactivation, graph.at("layer1.0.bn2"));
  EXPECT_EQ(fused.steps[9].preactivation, graph.at("layer3.0.downsample.1"));
  EXPECT_EQ(fused.steps[12].preactivation, graph.at("fc"));
  EXPECT_EQ(fused.steps[1].preactivation, graph.at("maxpool"));
}

TEST(Fuse, TheProjectionRunsLastWhereverItStandsInTheGraph) {
  for (const bool projection_first : {false, true}) {
    Graph graph;
    const ValueId x = graph.add("x", InputAttrs{{4, 6, 6}}, {});
    const auto projection = [&] { return graph.add("bnp", BatchNormAttrs{}, {graph.add("proj", conv(8), {x})}); };
    const auto main_path = [&] {
      const ValueId a = graph.add("relu1", ReluAttrs{}, {graph.add("a", conv(8, 3), {x})});
      return graph.add("bnb", BatchNormAttrs{}, {graph.add("b", conv(8, 3), {a})});
    };
    const ValueId p = projection_first ? projection() : -1;
    const ValueId m = main_path();
    const ValueId sum = graph.add("sum", AddAttrs{}, {m, projection_first ? p : projection()});
    graph.add("y", ReluAttrs{}, {sum});
    EXPECT_EQ(lines(graph), (Lines{"a(x) relu -> relu1", "b(relu1) bnb -> bnb", "proj(x) bnp + bnb relu -> y"}));
  }
}

TEST(Fuse, TwoProducersAsLongAsEachOtherLetTheLaterOneTakeTheSum) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 6, 6}}, {});
  const ValueId a = graph.add("a", conv(8), {x});
  const ValueId b = graph.add("b", conv(8), {x});
  graph.add("sum", AddAttrs{}, {b, a});
  EXPECT_EQ(lines(graph), (Lines{"a(x) -> a", "b(x) + a -> sum"}));
}

TEST(Fuse, AValueWithAnotherReaderIsStored) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 6, 6}}, {});
  const ValueId c = graph.add("c", conv(4), {x});
  const ValueId bn = graph.add("bn", BatchNormAttrs{}, {c});
  const ValueId relu = graph.add("relu", ReluAttrs{}, {bn});
  graph.add("sum", AddAttrs{}, {relu, c});
  EXPECT_EQ(lines(graph), (Lines{"c(x) -> c", "bn(c) -> bn", "relu(bn) -> relu", "sum(relu) + c -> sum"}));
}

TEST(Fuse, TheOutputIsStoredEvenIfSomebodyReadsIt) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 6, 6}}, {});
  const ValueId c = graph.add("c", conv(4), {x});
  graph.add("relu", ReluAttrs{}, {c});
  graph.set_output(c);
  EXPECT_EQ(lines(graph), (Lines{"c(x) -> c"})) << "and relu is dead";
}

TEST(Fuse, DeadReadersDoNotKeepAValueApart) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 6, 6}}, {});
  const ValueId c = graph.add("c", conv(4), {x});
  graph.add("dead", MaxPoolAttrs{{2, 2, 0}}, {c});
  const ValueId relu = graph.add("relu", ReluAttrs{}, {c});
  graph.add("also_dead", conv(9), {relu});
  graph.set_output(relu);
  EXPECT_EQ(lines(graph), (Lines{"c(x) relu -> relu"}));
}

TEST(Fuse, EachThingIsDrawnInOnceAndInOrder) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 6, 6}}, {});
  ValueId v = graph.add("c", conv(4), {x});
  v = graph.add("bn", BatchNormAttrs{}, {v});
  v = graph.add("bn_again", BatchNormAttrs{}, {v});  // a second batch norm
  v = graph.add("d", conv(4), {v});
  v = graph.add("sum", AddAttrs{}, {v, x});
  v = graph.add("bn_after_sum", BatchNormAttrs{}, {v});
  v = graph.add("e", conv(4), {v});
  v = graph.add("relu", ReluAttrs{}, {v});
  v = graph.add("sum_after_relu", AddAttrs{}, {x, v});
  v = graph.add("f", conv(4), {v});
  v = graph.add("sum1", AddAttrs{}, {v, x});
  v = graph.add("sum2", AddAttrs{}, {v, x});
  graph.add("y", ReluAttrs{}, {v});
  EXPECT_EQ(lines(graph),
            (Lines{"c(x) bn -> bn", "bn_again(bn) -> bn_again", "d(bn_again) + x -> sum", "bn_after_sum(sum) -> bn_after_sum",
                   "e(bn_after_sum) relu -> relu", "sum_after_relu(x) + relu -> sum_after_relu",
                   "f(sum_after_relu) + x -> sum1", "sum2(sum1) + x -> sum2", "y(sum2) -> y"}));
}

TEST(Fuse, AValueAddedToItselfStays) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 6, 6}}, {});
  const ValueId c = graph.add("c", conv(4), {x});
  graph.add("twice", AddAttrs{}, {c, c});
  EXPECT_EQ(lines(graph), (Lines{"c(x) -> c", "twice(c) + c -> twice"}));
}

TEST(Fuse, LinearLayersTakeSumAndReluButNoBatchNorm) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 1, 1}}, {});
  const ValueId a = graph.add("a", LinearAttrs{4, true}, {x});
  const ValueId bn = graph.add("bn", BatchNormAttrs{}, {a});
  const ValueId b = graph.add("b", LinearAttrs{4, false}, {bn});
  graph.add("y", ReluAttrs{}, {graph.add("sum", AddAttrs{}, {b, x})});
  EXPECT_EQ(lines(graph), (Lines{"a(x) -> a", "bn(a) -> bn", "b(bn) + x relu -> y"}));
}

TEST(Fuse, DrawsInEveryActivationButOneAStep) {
  for (const Attrs& attrs : test::other_activations()) {
    Graph graph;
    const ValueId x = graph.add("x", InputAttrs{{4, 5, 5}}, {});
    const ValueId a = graph.add("act", attrs, {graph.add("bn", BatchNormAttrs{}, {graph.add("conv", conv(4, 3), {x})})});
    graph.add("relu", ReluAttrs{}, {a});
    const std::string name(op_name(attrs));
    EXPECT_EQ(lines(graph), (Lines{"conv(x) bn " + name + " -> act", "relu(act) -> relu"}));
    EXPECT_EQ(fuse(graph).steps[0].activation, activation_of(attrs));
  }
}

TEST(Fuse, AGraphThatOnlyPassesItsInputHasNoSteps) {
  Graph graph;
  const ValueId x = graph.add("x", InputAttrs{{4, 1, 1}}, {});
  graph.add("dead", ReluAttrs{}, {x});
  graph.set_output(x);
  const FusedGraph fused = fuse(graph);
  EXPECT_TRUE(fused.steps.empty());
  EXPECT_EQ(fused.output, fused.input);
}

TEST(FusedMeaning, SmallModelsInBothModes) {
  for (TinyOptions options : {TinyOptions{}, test::tiny_bottleneck_options(), test::tiny_integer_options()}) {
    const Model model = test::tiny_resnet(options);
    const ReferenceValues reference = test::run_reference(model, test::tiny_pixels(options.input, 2, 11, options.integers), 2);
    for (const BatchNorm mode : kModes) {
      expect_same(model, mode, reference);
    }
  }
}

TEST(FusedMeaning, IntegersAreExact) {
  const TinyOptions options = test::tiny_integer_options();
  const Model model = test::tiny_resnet(options);
  const ReferenceValues reference = test::run_reference(model, test::tiny_pixels(options.input, 2, 11, true), 2);
  for (const BatchNorm mode : kModes) {
    const FusedGraph fused = fuse(model.graph);
    for (const auto& [value, got] : evaluate(model, fused, mode, reference)) {
      const Mismatch m = compare(got.value, reference.at(model.graph.node(value).name), 0);
      EXPECT_EQ(m.count, 0) << model.graph.node(value).name << ": " << m.message();
    }
  }
}

/// A random graph over 4-channel 4x4 values, and its parameters: single nodes on any earlier value, and runs of conv
/// [batch_norm] [add] [relu] on any, from which later nodes may read what lies between.
Model random_model(uint64_t seed) {
  Random random(seed);
  Model model;
  std::vector<ValueId> values = {model.graph.add("x", InputAttrs{{4, 4, 4}}, {})};
  const auto any = [&] { return values[random.below(values.size())]; };
  const auto add = [&](const Attrs& attrs, const std::vector<ValueId>& inputs) {
    values.push_back(model.graph.add("n" + std::to_string(values.size()), attrs, inputs));
    return values.back();
  };
  const Attrs single[] = {conv(4, 1, 1, 1, true),  BatchNormAttrs{},        ReluAttrs{},
                          MaxPoolAttrs{{3, 1, 1}}, AvgPoolAttrs{{3, 1, 1}}, ChannelMapAttrs{{3, -1, 0, 0}, 1}};
  for (uint64_t i = 0, count = 2 + random.below(6); i < count; ++i) {
    if (random.below(3) == 0) {
      add(single[random.below(std::size(single))], {any()});
      continue;
    }
    ValueId v = add(random.below(2) == 0 ? conv(4, 3) : conv(4, 3, 1, 2), {random.below(3) > 0 ? values.back() : any()});
    v = random.below(4) > 0 ? add(BatchNormAttrs{}, {v}) : v;
    v = random.below(2) > 0 ? add(AddAttrs{}, random.below(2) > 0 ? std::vector{v, any()} : std::vector{any(), v}) : v;
    v = random.below(4) > 0 ? add(ReluAttrs{}, {v}) : v;
  }
  if (random.below(4) == 0) {
    model.graph.set_output(any());
  }
  model.parameters = test::tiny_parameters(model.graph, seed);
  return model;
}

TEST(FusedMeaning, RandomGraphsInBothModes) {
  int fused_more = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const Model model = random_model(seed);
    Random random(seed + 1000);
    std::vector<float> input(2 * 64);
    std::generate(input.begin(), input.end(), [&] { return static_cast<float>(random.normal()); });
    const ReferenceValues reference = test::run_reference_nchw(model, input, 2);
    for (const BatchNorm mode : kModes) {
      expect_same(model, mode, reference);
    }
    const FusedGraph fused = fuse(model.graph);
    fused_more += std::any_of(fused.steps.begin(), fused.steps.end(), [](const FusedNode& step) {
      return !step.batch_norm.empty() && step.residual && step.activation.is_relu();
    });
    if (HasFailure()) {
      break;
    }
  }
  EXPECT_GT(fused_more, 50) << "the random graphs must hold cases worth testing";
}

/// x [2,1,1] -> biased conv "c" -> "bn".
Model folding_model() {
  Model model;
  const ValueId x = model.graph.add("x", InputAttrs{{2, 1, 1}}, {});
  model.graph.add("bn", BatchNormAttrs{0.25}, {model.graph.add("c", conv(2, 1, 1, 1, true), {x})});
  model.parameters["c.weight"] = tensor_of({1, 2, 3, 4}, {2, 2, 1, 1});
  model.parameters["c.bias"] = tensor_of({5, 6}, {2});
  model.parameters["bn.weight"] = tensor_of({4, -3}, {2});
  model.parameters["bn.bias"] = tensor_of({10, 20}, {2});
  model.parameters["bn.running_mean"] = tensor_of({1, 2}, {2});
  model.parameters["bn.running_var"] = tensor_of({3.75F, 0}, {2});
  return model;
}

std::vector<float> floats(const Tensor& tensor) { return {tensor.f32().begin(), tensor.f32().end()}; }

TEST(ConvWeights, FoldByHand) {
  // scale = 4 / sqrt(4) = 2 and -3 / sqrt(0.25) = -6; bias = (5 - 1) * 2 + 10 and (6 - 2) * -6 + 20.
  const Model model = folding_model();
  const FusedNode step = fuse(model.graph).steps.at(0);
  const ConvWeights folded = conv_weights(model, step, BatchNorm::kFold, host_resource());
  EXPECT_EQ(floats(folded.weight), (std::vector<float>{2, 4, -18, -24}));
  EXPECT_EQ(floats(folded.bias), (std::vector<float>{18, -4}));
  EXPECT_EQ(folded.weight.shape(), (Shape{2, 2, 1, 1}));
  const ConvWeights apart = conv_weights(model, step, BatchNorm::kApart, host_resource());
  EXPECT_EQ(floats(apart.weight), (std::vector<float>{1, 2, 3, 4}));
  EXPECT_EQ(floats(apart.bias), (std::vector<float>{5, 6}));
  EXPECT_EQ(floats(model.parameter("c.weight")), (std::vector<float>{1, 2, 3, 4})) << "the model keeps its own";
}

TEST(ConvWeights, AreRoundedOnceFromDouble) {
  // Against long double: folding in float would round three times and miss the last bit of many weights.
  const Model model = test::tiny_resnet();
  const FusedNode step = fuse(model.graph).steps.at(1);
  ASSERT_EQ(step.batch_norm, "layer1.0.bn1");
  const ConvWeights folded = conv_weights(model, step, BatchNorm::kFold, host_resource());
  const auto stored = model.parameter("layer1.0.conv1.weight").f32();
  const auto gamma = model.parameter("layer1.0.bn1.weight").f32();
  const auto variance = model.parameter("layer1.0.bn1.running_var").f32();
  const size_t row = stored.size() / gamma.size();
  int differs_from_float = 0;
  for (size_t i = 0; i < stored.size(); ++i) {
    const size_t k = i / row;
    const auto want = static_cast<float>(static_cast<long double>(stored[i]) * gamma[k] /
                                         std::sqrt(static_cast<long double>(variance[k]) + 1e-5L));
    EXPECT_EQ(folded.weight.f32()[i], want) << i;
    differs_from_float += stored[i] * (gamma[k] / std::sqrt(variance[k] + 1e-5F)) != want ? 1 : 0;
  }
  EXPECT_GT(differs_from_float, 10) << "the case must tell float from double";
}

TEST(ConvWeights, OfALinearLayerAndWithoutBias) {
  Model model;
  const ValueId x = model.graph.add("x", InputAttrs{{2, 1, 1}}, {});
  model.graph.add("fc", LinearAttrs{1, false}, {x});
  model.parameters["fc.weight"] = tensor_of({7, 8}, {1, 2});
  const FusedNode step = fuse(model.graph).steps.at(0);
  const ConvWeights weights = conv_weights(model, step, BatchNorm::kFold, host_resource());
  EXPECT_EQ(floats(weights.weight), (std::vector<float>{7, 8}));
  EXPECT_EQ(weights.weight.shape(), (Shape{1, 2}));
  EXPECT_EQ(floats(weights.bias), (std::vector<float>{0}));
}

TEST(ConvWeights, RefuseWhatHasNoneAndLeaveNothingBehind) {
  const Model model = test::tiny_resnet();
  const FusedGraph fused = fuse(model.graph);
  const auto pool = std::find_if(fused.steps.begin(), fused.steps.end(),
                                 [](const FusedNode& step) { return step.node.is<GlobalAvgPoolAttrs>(); });
  EXPECT_THROW((void)conv_weights(model, *pool, BatchNorm::kFold, host_resource()), ContractError);
  Model without = model;
  without.parameters.erase("bn1.running_var");
  EXPECT_THROW((void)conv_weights(without, fused.steps[0], BatchNorm::kFold, host_resource()), ContractError);
  test::Faulty memory;
  for (int64_t k = 0; k < 2; ++k) {
    memory.fail_at(k);
    EXPECT_THROW((void)conv_weights(model, fused.steps[0], BatchNorm::kFold, memory), OutOfMemory);
    EXPECT_EQ(memory.in_use_bytes(), 0U) << memory.leaks();
  }
  memory.heal();
  EXPECT_NO_THROW((void)conv_weights(model, fused.steps[0], BatchNorm::kFold, memory));
}

}  // namespace
}  // namespace elek
