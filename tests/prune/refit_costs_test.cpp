// SPDX-License-Identifier: Apache-2.0
// Costs of the metric refit compared with its definition: every activation of the dense network is kept, normal equations are
// in double, and each removal is tried by elimination. Also: properties that hold for any network, and that no memory is left
// allocated.
#include "prune/refit_costs.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/error.h"
#include "prune/groups.h"
#include "tests/prune/array_source.h"
#include "tests/prune/double_fit.h"
#include "tests/prune/networks.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

constexpr int64_t kSamples = 14;  // in batches of 6, 6, 2

/// conv2's columns with a 1 appended: mean of u u' over images and positions.
Matrix conv2_moments(const std::vector<double>& x) {
  Matrix a(37, std::vector<double>(37, 0.0));
  for (int64_t n = 0; n < kSamples; ++n) {
    for (int64_t p = 0; p < 16; ++p) {
      std::vector<double> u;
      for (int64_t i = 0; i < 36; ++i) {
        const int64_t h = p / 4 * 2 - 1 + i % 9 / 3, w = p % 4 * 2 - 1 + i % 3;
        const bool inside = h >= 0 && w >= 0 && h < 8 && w < 8;
        u.push_back(inside ? x[at(((n * 4 + i / 9) * 8 + h) * 8 + w)] : 0);
      }
      u.push_back(1);
      for (size_t r = 0; r < 37; ++r) {
        for (size_t c = 0; c < 37; ++c) a[r][c] += u[r] * u[c] / static_cast<double>(kSamples * 16);
      }
    }
  }
  return a;
}

double loss(const Matrix& a, const std::vector<double>& w, const std::vector<bool>& gone) {
  std::vector<size_t> stay;
  for (size_t i = 0; i < w.size(); ++i) {
    if (i == 36 || !gone[i / 9]) stay.push_back(i);
  }
  return loss_on(stay, a, w);
}

TEST(RefitCosts, AreTheirDefinitionStepByStep) {
  const Model model = two_layer_chain(2);
  const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 8);
  ArraySource source(pixels, kSamples);
  const std::vector<Group> groups = find_groups(model.graph);
  const RefitOptions how{0.05, 0};
  const auto got = refit_costs(model, groups, source, six_at_a_time(), {}, how);
  Matrix a = conv2_moments(run_reference(model, pixels, kSamples).at("relu1"));
  const std::span<const float> w = model.parameter("conv2.weight").f32();
  Matrix rows;  // scaled by the batch norm
  double variance = 0;
  for (size_t k = 0; k < 3; ++k) {
    const double scale =
        double{model.parameter("bn2.weight").f32()[k]} / std::sqrt(double{model.parameter("bn2.running_var").f32()[k]} + 1e-5);
    rows.emplace_back();
    for (size_t i = 0; i < 36; ++i) rows.back().push_back(scale * double{w[k * 36 + i]});
    rows.back().push_back(0);
    for (size_t i = 0; i < 36; ++i) {
      for (size_t j = 0; j < 36; ++j) variance += rows[k][i] * rows[k][j] * (a[i][j] - a[i][36] * a[j][36]);
    }
  }
  double mean = 0;
  for (size_t i = 0; i < 36; ++i) mean += a[i][i] / 36;
  for (size_t i = 0; i < 36; ++i) a[i][i] += how.ridge * mean;
  const std::vector<double>& costs = got.at(find_group(model.graph, groups, "relu1"));
  ASSERT_EQ(costs.size(), 4u);
  std::vector<bool> gone(4, false);
  for (int step = 0; step < 4; ++step) {
    size_t best = 4;
    double least = 0;
    for (size_t c = 0; c < 4; ++c) {
      if (gone[c]) continue;
      std::vector<bool> tried = gone;
      tried[c] = true;
      double all = 0;
      for (const auto& row : rows) all += loss(a, row, tried) / variance;
      if (best == 4 || all < least) {
        best = c;
        least = all;
      }
    }
    // Activations in f32, errors of 1e-6 in the moments, times a condition below 37 / 0.05.
    EXPECT_NEAR(costs[best], least, 1e-3 * least) << "step " << step;
    gone[best] = true;
  }
}

TEST(RefitCosts, HoldForEveryKindOfNetworkWithAndWithoutKeptActivations) {
  for (const Model& model : {tiny_basic(1), tiny_bottleneck(2), tiny_option_a(3), tiny_resnext(4), depthwise_and_flatten(5),
                             tiny_concat(6), tiny_mobile(7)}) {
    const std::vector<uint8_t> pixels = tiny_pixels(model.graph.input_shape(), kSamples, 8);
    const std::vector<Group> groups = find_groups(model.graph);
    std::vector<std::vector<double>> first;
    for (const size_t bytes : {size_t{0}, size_t{1} << 24}) {
      Tracker memory(host_resource());
      ArraySource source(pixels, kSamples);
      const auto got = refit_costs(model, groups, source, six_at_a_time(&memory), {}, {kRidge, bytes});
      EXPECT_EQ(memory.figures().live_bytes, 0u);
      EXPECT_GE(memory.figures().peak_bytes, plan_refit_costs(model.graph, groups, 2, kSamples, bytes).moments_bytes);
      ASSERT_EQ(got.size(), groups.size());
      for (size_t g = 0; g < groups.size(); ++g) {
        EXPECT_EQ(std::ssize(got[g]), groups[g].prunable ? groups[g].channels : 0) << groups[g].name;
        for (const double cost : got[g]) EXPECT_TRUE(std::isfinite(cost) && cost >= 0) << groups[g].name << " " << cost;
        for (size_t c = 0; bytes > 0 && c < got[g].size(); ++c) {
          EXPECT_NEAR(got[g][c], first[g][c], 1e-3 * first[g][c] + 1e-9) << groups[g].name << " " << c;
        }
      }
      if (bytes == 0) first = got;
    }
  }
}

TEST(RefitCosts, AreForetoldInPassesOfTheNetwork) {
  const Model model = two_layer_chain(2);  // conv2 reads 4 channels and makes 3, which fc reads
  const Graph& graph = model.graph;
  const std::vector<Group> groups = find_groups(graph);
  const RefitCostsPlan plan = plan_refit_costs(graph, groups, 2, 100, 0);
  EXPECT_EQ(plan.layers, 2);
  const double n2 = 37, n = 4, positions = 16;  // the bias included; conv2's outputs are 4x4
  const auto until = [&](const char* name) { return static_cast<double>(macs_between(graph, -1, graph.at(name))); };
  EXPECT_DOUBLE_EQ(plan.macs_an_image, until("relu1") + positions * n2 * (n2 + 1) / 2 +
                                           static_cast<double>(macs_between(graph, -1, graph.node(graph.at("fc")).inputs[0])) +
                                           n * (n + 1) / 2);
  const auto classes = static_cast<double>(graph.node(graph.output()).shape.channels);
  EXPECT_DOUBLE_EQ(plan.elimination_macs, n2 * n2 * (n2 / 4 + 3.0 / 2) + n * n * (n / 4 + classes / 2));
  EXPECT_GT(plan.dense_passes, plan.macs_an_image / static_cast<double>(macs(graph)));
  EXPECT_LT(plan_refit_costs(graph, groups, 2, 1000, 0).dense_passes, plan.dense_passes)
      << "eliminating takes no longer for more images";
}

TEST(RefitCosts, RefuseNothingToLookAtAndTooLittleMemory) {
  const Model model = tiny_basic(1);
  const std::vector<Group> groups = find_groups(model.graph);
  ArraySource empty({}, 0);
  EXPECT_THROW((void)refit_costs(model, groups, empty, six_at_a_time(), {}), InputError);
  ArraySource source(tiny_pixels(model.graph.input_shape(), kSamples, 8), kSamples);
  Tracker memory(host_resource());
  Limit limit(memory, plan_refit_costs(model.graph, groups, 2, kSamples, 0).moments_bytes - 1);
  EXPECT_THROW((void)refit_costs(model, groups, source, six_at_a_time(&limit), {}), OutOfMemory);
  EXPECT_EQ(memory.figures().live_bytes, 0u);
  EXPECT_FALSE(source.running());
}

}  // namespace
}  // namespace elek::test
