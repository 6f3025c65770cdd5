// SPDX-License-Identifier: Apache-2.0
// Rounding by moments beside brute force and plain definitions: the error it reports is that of the layer's output on the
// images, it is never worse than rounding to nearest by more than the search can explain, and with few weights it is close to
// the best of all roundings.
#include "quantize/round_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/runtime.h"

namespace elek {
namespace {

/// A 1x1 convolution of correlated channels, over `samples` positions.
struct Layer {
  FitShape shape;
  std::vector<float> x, z, weights, bias;
  int64_t samples;

  Layer(int64_t channels, int64_t outputs, int64_t count, uint64_t seed) : samples(count) {
    shape.name = "layer";
    shape.input = {channels, 1, 1};
    shape.outputs = shape.target_channels = outputs;
    for (int64_t k = 0; k < outputs; ++k) shape.targets.push_back(k);
    Random random(seed);
    for (int64_t n = 0; n < samples; ++n) {
      const double common = random.normal();
      for (int64_t c = 0; c < channels; ++c) {
        x.push_back(static_cast<float>(std::max(0.0, common + 0.5 * random.normal() + 0.2 * static_cast<double>(c % 3))));
      }
    }
    for (int64_t i = 0; i < outputs * channels; ++i) weights.push_back(static_cast<float>(random.normal()));
    for (int64_t k = 0; k < outputs; ++k) bias.push_back(static_cast<float>(random.normal()));
    z = outputs_of(weights, bias);
  }
  [[nodiscard]] std::vector<float> outputs_of(const std::vector<float>& w, const std::vector<float>& b) const {
    std::vector<float> out;
    for (int64_t n = 0; n < samples; ++n)
      for (int64_t k = 0; k < shape.outputs; ++k) {
        double sum = b[static_cast<size_t>(k)];
        for (int64_t c = 0; c < shape.input.channels; ++c)
          sum += double{w[static_cast<size_t>(k * shape.input.channels + c)]} *
                 double{x[static_cast<size_t>(n * shape.input.channels + c)]};
        out.push_back(static_cast<float>(sum));
      }
    return out;
  }
  /// Squared error of the outputs with these weights.
  [[nodiscard]] double error_of(const std::vector<float>& w, const std::vector<float>& b) const {
    const std::vector<float> got = outputs_of(w, b);
    double sum = 0;
    for (size_t i = 0; i < got.size(); ++i) sum += (double{got[i]} - double{z[i]}) * (double{got[i]} - double{z[i]});
    return sum;
  }
  [[nodiscard]] FitMoments moments() const {
    FitMoments made(shape, false, 2, host_resource());
    made.add(x, z, samples);
    return made;
  }
};

void expect_on_grid(const std::vector<float>& weights, const std::vector<float>& scales) {
  const size_t row = weights.size() / scales.size();
  for (size_t i = 0; i < weights.size(); ++i) {
    const double q = double{weights[i]} / double{scales[i / row]};
    EXPECT_NEAR(q, std::nearbyint(q), 1e-4) << i;
    EXPECT_LE(std::fabs(q), 127.001) << i;
  }
}

TEST(RoundWeightsTest, NearestIsNearest) {
  Layer layer(9, 4, 10, 1);
  layer.weights[3] = 0;
  std::vector<float> rounded = layer.weights;
  const std::vector<float> scales = weight_scales(layer.weights, 4);
  round_to_nearest(rounded, scales);
  expect_on_grid(rounded, scales);
  for (size_t i = 0; i < rounded.size(); ++i) EXPECT_LE(std::fabs(rounded[i] - layer.weights[i]), 0.5001F * scales[i / 9]);
  EXPECT_EQ(weight_scales(std::vector<float>(6, 0.0F), 2), std::vector<float>(2, 1.0F));  // a channel of zeros stays zero
}

TEST(RoundWeightsTest, TheReportedErrorIsThatOfTheOutputs) {
  const Layer layer(12, 5, 400, 2);
  std::vector<float> weights = layer.weights, bias = layer.bias;
  FitMoments moments = layer.moments();
  const RoundedByMoments rounded = round_by_moments(moments, layer.shape, 2, host_resource(), weights, bias);
  expect_on_grid(weights, rounded.scales);
  // The fit can only be as near to z as the given weights are, which is f32's rounding; so the error is the rounding's.
  const double error = layer.error_of(weights, bias);
  EXPECT_NEAR(rounded.error, error, 0.02 * error);
  std::vector<float> nearest = layer.weights;
  round_to_nearest(nearest, rounded.scales);
  EXPECT_LT(rounded.error, rounded.error_nearest);
  EXPECT_LT(error, layer.error_of(nearest, layer.bias));
}

TEST(RoundWeightsTest, CloseToTheBestOfAllRoundings) {
  // Three weights and a coarse grid, so that all neighbours can be tried.
  double sum = 0, sum_best = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Layer layer(3, 1, 200, seed);
    std::vector<float> weights = layer.weights, bias = layer.bias;
    FitMoments moments = layer.moments();
    const RoundedByMoments rounded = round_by_moments(moments, layer.shape, 1, host_resource(), weights, bias);
    double best = std::numeric_limits<double>::infinity();
    const double scale = rounded.scales[0];
    for (int code = 0; code < 125; ++code) {
      std::vector<float> tried;
      for (int i = 0, rest = code; i < 3; ++i, rest /= 5) {
        const double q = std::nearbyint(double{layer.weights[static_cast<size_t>(i)]} / scale) + rest % 5 - 2;
        tried.push_back(static_cast<float>(q * scale));
      }
      double mean = 0;  // the best bias
      const std::vector<float> without = layer.outputs_of(tried, {0.0F});
      for (size_t i = 0; i < without.size(); ++i) mean += double{layer.z[i]} - double{without[i]};
      best = std::min(best, layer.error_of(tried, {static_cast<float>(mean / static_cast<double>(without.size()))}));
    }
    sum += layer.error_of(weights, bias), sum_best += best;
  }
  EXPECT_LE(sum, 1.5 * sum_best);
}

TEST(RoundWeightsTest, ZerosStayZeroAndTheOthersTakeUpTheErrors) {
  Layer layer(12, 4, 400, 6);
  for (size_t i = 0; i < layer.weights.size(); i += 3) layer.weights[i] = 0;
  layer.z = layer.outputs_of(layer.weights, layer.bias);
  std::vector<float> weights = layer.weights, bias = layer.bias;
  FitMoments moments = layer.moments();
  const RoundedByMoments rounded = round_by_moments(moments, layer.shape, 2, host_resource(), weights, bias);
  for (size_t i = 0; i < weights.size(); i += 3) EXPECT_EQ(weights[i], 0) << i;
  expect_on_grid(weights, rounded.scales);
  EXPECT_LT(rounded.error, rounded.error_nearest);
}

TEST(RoundWeightsTest, ThreadsDoNotChangeABit) {
  const Layer layer(40, 7, 300, 3);
  std::vector<std::vector<float>> results;
  for (const int threads : {1, 3}) {
    std::vector<float> weights = layer.weights, bias = layer.bias;
    FitMoments moments = layer.moments();
    (void)round_by_moments(moments, layer.shape, threads, host_resource(), weights, bias);
    weights.insert(weights.end(), bias.begin(), bias.end());
    results.push_back(weights);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(RoundWeightsTest, InputsThatAreAllZero) {
  Layer layer(4, 2, 50, 4);
  std::fill(layer.x.begin(), layer.x.end(), 0.0F);
  std::vector<float> weights = layer.weights, bias = layer.bias;
  FitMoments moments(layer.shape, false, 1, host_resource());
  moments.add(layer.x, layer.z, layer.samples);
  const RoundedByMoments rounded = round_by_moments(moments, layer.shape, 1, host_resource(), weights, bias);
  expect_on_grid(weights, rounded.scales);
  EXPECT_EQ(rounded.error, 0);
}

TEST(RoundWeightsTest, NaNIsAnErrorThatNamesTheLayer) {
  Layer layer(4, 2, 50, 5);
  layer.x[7] = std::numeric_limits<float>::quiet_NaN();
  FitMoments moments = layer.moments();
  try {
    (void)round_by_moments(moments, layer.shape, 1, host_resource(), layer.weights, layer.bias);
    FAIL() << "no error";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("'layer'"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("NaN"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace elek
