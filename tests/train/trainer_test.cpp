// SPDX-License-Identifier: Apache-2.0
// Logits and gradients of whole networks. The oracle is the double-precision interpreter of tests/support: its logits, and its
// slopes when one parameter moves (finite differences in double).
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"
#include "tests/prune/networks.h"
#include "tests/support/models.h"
#include "tests/support/reference.h"

namespace elek::train {
namespace {

using test::run_reference_nchw;

/// sum over all logits of coefficient * logit: a loss whose gradient is the coefficients.
double weighted(const std::vector<double>& logits, const std::vector<float>& coefficients) {
  double sum = 0;
  for (size_t i = 0; i < coefficients.size(); ++i) sum += logits[i] * double{coefficients[i]};
  return sum;
}

std::vector<float> normals(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> made(count);
  for (float& v : made) v = static_cast<float>(random.normal());
  return made;
}

/// The model with one element of one parameter moved. Returns by how much.
double move(Model& model, const std::string& name, size_t element, double by) {
  auto moved = std::make_shared<Tensor>(model.parameter(name).clone(host_resource(), name));
  const float old = moved->f32()[element];
  moved->f32()[element] = static_cast<float>(double{old} + by);
  const double really = double{moved->f32()[element]} - double{old};
  model.parameters[name] = std::move(moved);
  return really;
}

/// The name under which a folded bias stands in a model made by Trainer::model().
std::string bias_name(const Graph& graph, const std::string& layer) {
  const ValueId id = graph.at(layer);
  const std::vector<ValueId> readers = graph.consumers(id);
  if (readers.size() == 1 && graph.node(readers[0]).is<BatchNormAttrs>()) return graph.node(readers[0]).name + ".bias";
  return layer + ".bias";
}

/// Compares some elements of every gradient with the slope in double.
/// Tolerance: f32 adds n terms with an error of at most n * 2^-24 of their sizes, forward and backward; n is below 2,000 here,
/// and sizes are measured by the largest gradient of the tensor. Slopes are exact unless a ReLU or a largest value of a window
/// changes within the step; the step is small, and at most one of the elements tried may be off for that.
void expect_gradients(const Model& model, int64_t samples, uint64_t seed) {
  const std::vector<float> x = test::random_input(model.graph, samples, seed);
  Trainer trainer(model, {.batch = samples + 2, .threads = 2});
  const auto logits = trainer.forward_values(x, samples);
  const Model folded = trainer.model(host_resource());
  const std::vector<double> want = run_reference_nchw(folded, x, samples).logits();
  double largest = 0;
  for (const double v : want) largest = std::max(largest, std::fabs(v));
  for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(logits[i], want[i], 1e-4 * largest);
  const std::vector<float> coefficients = normals(want.size(), seed + 1);
  trainer.backward(coefficients);
  Random random(seed + 2);
  int64_t tried = 0, off = 0;
  std::string which;
  for (const Parameter& p : trainer.parameters()) {
    double most = 0;
    for (const float g : p.gradient) most = std::max(most, std::fabs(double{g}));
    const std::string layer = p.name.substr(0, p.name.rfind('.'));
    const std::string name = p.is_bias ? bias_name(model.graph, layer) : p.name;
    for (int draw = 0; draw < 4; ++draw, ++tried) {
      const size_t element = random.below(p.values.size());
      Model up = folded, down = folded;
      const double step = 1e-5 * std::max(1e-2, std::fabs(double{p.values[element]}));
      const double width = move(up, name, element, step) - move(down, name, element, -step);
      const double slope = (weighted(run_reference_nchw(up, x, samples).logits(), coefficients) -
                            weighted(run_reference_nchw(down, x, samples).logits(), coefficients)) /
                           width;
      if (std::fabs(double{p.gradient[element]} - slope) <= 2000 * 0x1p-24 * std::max(most, std::fabs(slope)) + 1e-6 * largest)
        continue;
      ++off;
      which += name + "[" + std::to_string(element) + "] got " + std::to_string(p.gradient[element]) + ", slope " +
               std::to_string(slope) + "; ";
    }
  }
  EXPECT_GT(tried, 8);
  EXPECT_LE(off, 1) << which;
}

TEST(Trainer, GradientsAreTheSlopesOfResNets) {
  expect_gradients(test::tiny_resnet(), 3, 1);
  test::TinyOptions options = test::tiny_bottleneck_options();  // grouped
  options.max_pool = true;
  expect_gradients(test::tiny_resnet(options), 3, 2);
  options = {};
  options.bottleneck = true;
  options.input = {1, 9, 11};
  expect_gradients(test::tiny_resnet(options), 2, 3);
}

/// Seeded parameters of small fractions for any graph.
Model model_of(const Graph& graph, uint64_t seed) {
  Model model;
  model.graph = graph;
  model.parameters = test::tiny_parameters(graph, seed);
  const auto channels = static_cast<size_t>(graph.input_shape().channels);
  model.preprocessing = {std::vector<float>(channels, 0.5F), std::vector<float>(channels, 0.25F)};
  return model;
}

TEST(Trainer, GradientsAreTheSlopesOfRandomGraphs) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("graph " + std::to_string(seed));
    expect_gradients(model_of(test::random_graph(seed), seed), 2, seed);
  }
}

/// A gate beside a convolution, curved activations inside and alone, an average pool, a linear layer with a bias.
Graph curved_graph() {
  Graph g;
  const ValueId image = g.add("image", InputAttrs{{3, 9, 8}}, {});
  const auto conv = [&](const std::string& name, ValueId from, int64_t channels, int64_t kernel, int64_t stride,
                        int64_t groups) {
    return g.add(name, Conv2dAttrs{channels, kernel, stride, kernel / 2, groups, true}, {from});
  };
  const ValueId a = g.add("swish", HardSwishAttrs{}, {conv("first", image, 6, 3, 1, 1)});
  const ValueId b = g.add("leaky", LeakyReluAttrs{0.1}, {conv("deep", a, 6, 3, 2, 6)});
  const ValueId squeezed = g.add("squeeze", GlobalAvgPoolAttrs{}, {b});
  const ValueId gate = g.add("gate", SigmoidAttrs{},
                             {conv("excite", g.add("r", ReluAttrs{}, {conv("reduce", squeezed, 3, 1, 1, 1)}), 6, 1, 1, 1)});
  const ValueId scaled = g.add("scaled", ChannelScaleAttrs{}, {b, gate});
  const ValueId sum = g.add("sum", AddAttrs{}, {scaled, b});
  const ValueId six = g.add("six", ClipAttrs{-0.25, 0.5}, {conv("last", sum, 5, 1, 1, 1)});
  AvgPoolAttrs pool;
  pool.kernel = 2, pool.stride = 2;
  const ValueId flat = g.add("flat", FlattenAttrs{}, {g.add("pool", pool, {six})});
  g.add("fc", LinearAttrs{4, true}, {flat});
  return g;
}

TEST(Trainer, GradientsAreTheSlopesOfGatesAndCurvedActivations) {
  for (uint64_t seed = 1; seed <= 4; ++seed) expect_gradients(model_of(curved_graph(), seed), 3, seed);
}

/// Windows of every kind, pools that round up, and concatenations of one value and of three.
Graph joined_graph() {
  Graph g;
  const ValueId image = g.add("image", InputAttrs{{2, 11, 9}}, {});
  const auto conv = [&](const std::string& name, ValueId from, int64_t channels, const Window& w, int64_t groups = 1) {
    return g.add(name, Conv2dAttrs{channels, w.kernel, w.stride, w.padding, groups, true, w.dilation}, {from});
  };
  const ValueId a = g.add("ra", ReluAttrs{}, {conv("a", image, 5, {{3, 2}, {1, 2}, {1, 0, 2, 1}, 1})});
  const ValueId b = conv("b", a, 6, {3, 1, 2, 2});
  const ValueId c = conv("c", a, 3, {{1, 3}, 1, {0, 1, 0, 1}, 1});
  const ValueId joined = g.add("joined", ConcatAttrs{}, {b, a, c});
  MaxPoolAttrs most;
  most.kernel = {3, 2}, most.stride = 2, most.padding = {1, 0, 0, 1}, most.ceil_mode = true;
  const ValueId pooled = g.add("most", most, {joined});
  const ValueId deep = conv("deep", pooled, 7, {2, 1, {1, 0, 0, 1}, 1});
  const ValueId again = g.add("again", ConcatAttrs{}, {deep, pooled});
  AvgPoolAttrs mean;
  mean.kernel = 2, mean.stride = 2, mean.padding = 1, mean.ceil_mode = true, mean.count_include_pad = false;
  const ValueId grouped = conv("grouped", g.add("mean", mean, {again}), 14, {3, {2, 1}, 1, 1}, 7);
  g.add("fc", LinearAttrs{4, true}, {g.add("flat", FlattenAttrs{}, {grouped})});
  return g;
}

TEST(Trainer, GradientsAreTheSlopesOfJoinedValuesAndOfEveryWindow) {
  for (uint64_t seed = 1; seed <= 4; ++seed) expect_gradients(model_of(joined_graph(), seed), 3, seed);
}

TEST(Trainer, TheModelComputesWhatTheTrainerDoes) {
  const Model model = test::tiny_resnet();
  Trainer trainer(model, {.batch = 4, .threads = 1});
  const auto x = test::random_input(model.graph, 4, 3);
  const std::vector<double> before = run_reference_nchw(model, x, 4).logits();
  const std::vector<double> after = run_reference_nchw(trainer.model(host_resource()), x, 4).logits();
  double largest = 0;
  for (const double v : before) largest = std::max(largest, std::fabs(v));
  for (size_t i = 0; i < before.size(); ++i) EXPECT_NEAR(after[i], before[i], 1e-5 * largest);
}

TEST(Trainer, ThreadsAndPartialBatchesDoNotChangeTheBits) {
  const Model model = test::tiny_resnet();
  const auto x = test::random_input(model.graph, 3, 5);
  const auto run = [&](int threads, int64_t batch) {
    Trainer trainer(model, {.batch = batch, .threads = threads});
    const auto logits = trainer.forward_values(x, 3);
    const std::vector<float> g = normals(logits.size(), 6);
    trainer.backward(g);
    std::vector<float> all;
    for (const Parameter& p : trainer.parameters()) all.insert(all.end(), p.gradient.begin(), p.gradient.end());
    return all;
  };
  const auto one = run(1, 3);
  EXPECT_EQ(run(2, 3), one);
  EXPECT_EQ(run(3, 50), one);
}

TEST(Trainer, TakesItsMemoryOnceAndGivesItBack) {
  Tracker tracker(host_resource());
  const Model model = test::tiny_resnet();
  {
    Trainer trainer(model, {.batch = 8, .threads = 2, .memory = &tracker});
    EXPECT_EQ(trainer.plan().arena_bytes, trainer.plan().lower_bound_bytes);
    const int64_t allocations = tracker.figures().allocations;
    const auto x = test::random_input(model.graph, 8, 1);
    const std::vector<float> g(static_cast<size_t>(8 * trainer.classes()), 1.0F);
    for (int i = 0; i < 3; ++i) {
      (void)trainer.forward_values(x, 8);
      trainer.backward(g);
    }
    EXPECT_EQ(tracker.figures().allocations, allocations);
  }
  EXPECT_EQ(tracker.figures().live_bytes, 0U);
}

TEST(Trainer, RefusesWhatDoesNotFit) {
  const Model model = test::tiny_resnet();
  Trainer trainer(model, {.batch = 2, .threads = 1});
  const auto x = test::random_input(model.graph, 3, 1);
  EXPECT_THROW((void)trainer.forward_values(x, 3), ContractError);
  const std::vector<float> g(static_cast<size_t>(2 * trainer.classes()), 1.0F);
  EXPECT_THROW(trainer.backward(g), ContractError);  // no forward pass yet
  (void)trainer.forward_values({x.data(), x.size() / 3 * 2}, 2);
  EXPECT_THROW(trainer.backward({g.data(), 3}), ContractError);
  trainer.backward(g);
  EXPECT_THROW(trainer.backward(g), ContractError);  // its values are gone
}

}  // namespace
}  // namespace elek::train
