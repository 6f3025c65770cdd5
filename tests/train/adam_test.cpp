// SPDX-License-Identifier: Apache-2.0
// Adam compared with its formula in double, over several steps of a small network.
#include "train/adam.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <vector>

#include "tests/prune/networks.h"
#include "tests/support/models.h"

namespace elek::train {
namespace {

double rms(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += double{v} * double{v};
  return std::sqrt(sum / static_cast<double>(values.size()));
}

TEST(Adam, StepsAreThoseOfTheFormula) {
  const Model model = test::tiny_resnet();
  Trainer trainer(model, {.batch = 2, .threads = 2});
  Adam adam(trainer, 1e-2, 2, host_resource());
  struct State {
    double step, value, mean = 0, square = 0;
  };
  std::map<std::pair<std::string, size_t>, State> want;
  for (const Parameter& p : trainer.parameters())
    for (const size_t i : {size_t{0}, p.values.size() / 2, p.values.size() - 1}) {
      want[{p.name, i}] = {1e-2 * rms(p.values), double{p.values[i]}};
    }
  const auto x = test::random_input(model.graph, 2, 1);
  const std::vector<float> g(static_cast<size_t>(2 * trainer.classes()), 0.5F);
  for (int t = 1; t <= 3; ++t) {
    (void)trainer.forward_values(x, 2);
    trainer.backward(g);
    const double factor = 1.0 / t;
    for (const Parameter& p : trainer.parameters())
      for (auto& [key, s] : want) {
        if (key.first != p.name) continue;
        const double gradient = double{p.gradient[key.second]};
        s.mean = 0.9 * s.mean + 0.1 * gradient;
        s.square = 0.999 * s.square + 0.001 * gradient * gradient;
        const double mean = s.mean / (1 - std::pow(0.9, t)), square = s.square / (1 - std::pow(0.999, t));
        if (s.value != 0) s.value -= factor * s.step * mean / (std::sqrt(square) + 1e-8);
      }
    adam.step(factor);
    for (const Parameter& p : trainer.parameters())
      for (const auto& [key, s] : want) {
        // a move is at most a few steps, and is computed in f32 with some ten operations
        if (key.first != p.name) continue;
        EXPECT_NEAR(p.values[key.second], s.value, 20 * 0x1p-24 * std::fabs(s.value) + 1e-5 * s.step) << p.name;
      }
  }
}

TEST(Adam, ZeroWeightsStayZeroAndZeroBiasesMove) {
  Model model = test::tiny_resnet();
  const std::string name = "layer1.0.conv1.weight";
  auto masked = std::make_shared<Tensor>(model.parameter(name).clone(host_resource(), name));
  for (size_t i = 0; i < masked->f32().size(); i += 2) masked->f32()[i] = 0;
  model.parameters[name] = masked;
  Trainer trainer(model, {.batch = 2, .threads = 1});
  Adam adam(trainer, 1e-2, 1, host_resource());
  const auto x = test::random_input(model.graph, 2, 1);
  (void)trainer.forward_values(x, 2);
  const std::vector<float> g(static_cast<size_t>(2 * trainer.classes()), 1.0F);
  trainer.backward(g);
  adam.step(1);
  bool found = false;
  for (const Parameter& p : trainer.parameters()) {
    if (p.name != name) continue;
    found = true;
    for (size_t i = 0; i < p.values.size(); ++i) EXPECT_EQ(p.values[i] == 0, i % 2 == 0) << i;
  }
  EXPECT_TRUE(found);
}

}  // namespace
}  // namespace elek::train
