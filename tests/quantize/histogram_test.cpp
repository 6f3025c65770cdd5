// SPDX-License-Identifier: Apache-2.0
// The histogram beside plain loops over the values: counts are exact, and the chosen step is the best of those it tries, up to
// the width of a bin.
#include "quantize/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/runtime.h"

namespace elek {
namespace {

std::vector<float> values_of(size_t count, uint64_t seed, double spread) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& v : values) v = static_cast<float>(spread * random.normal());
  return values;
}

int64_t total(const Histogram& histogram) {
  int64_t sum = 0;
  for (int i = 0; i < Histogram::kBins; ++i) sum += histogram.bin(i);
  return sum;
}

void expect_equal(const Histogram& a, const Histogram& b) {
  EXPECT_EQ(a.count(), b.count());
  EXPECT_EQ(a.largest(), b.largest());
  EXPECT_EQ(a.width(), b.width());
  for (int i = 0; i < Histogram::kBins; ++i) ASSERT_EQ(a.bin(i), b.bin(i)) << "bin " << i;
}

TEST(HistogramTest, CountsEveryValueOnce) {
  Histogram histogram;
  std::vector<float> values = values_of(5000, 1, 3);
  values.insert(values.end(), {0.0F, -0.0F, 0.0F});
  histogram.add(values);
  EXPECT_EQ(histogram.count(), 5003);
  EXPECT_EQ(total(histogram), 5000);  // zeros are on every grid
  for (int i = 0; i < Histogram::kBins; ++i) {
    const double low = i * histogram.width(), high = low + histogram.width();
    const auto inside = [&](float v) { return v != 0 && std::fabs(double{v}) >= low && std::fabs(double{v}) < high; };
    ASSERT_EQ(histogram.bin(i), std::count_if(values.begin(), values.end(), inside)) << "bin " << i;
  }
}

TEST(HistogramTest, TheOrderOfValuesDoesNotMatter) {
  // A small value first, then larger ones: the range doubles many times.
  std::vector<float> values = values_of(3000, 2, 1);
  for (size_t i = 0; i < values.size(); ++i) values[i] *= std::ldexp(1.0F, static_cast<int>(i % 20));
  std::sort(values.begin(), values.end(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
  Histogram upwards, downwards, apart;
  for (const float v : values) upwards.add(std::span(&v, 1));
  std::reverse(values.begin(), values.end());
  downwards.add(values);
  expect_equal(upwards, downwards);
  Histogram other;
  apart.add(std::span(values).first(1000));
  other.add(std::span(values).subspan(1000));
  Histogram merged = apart;
  merged.merge(other);
  expect_equal(merged, downwards);
  other.merge(apart);
  expect_equal(other, downwards);
}

TEST(HistogramTest, TheStepHasTheLeastErrorOfAllThatClip) {
  for (const int steps : {127, 255, 15}) {
    std::vector<float> values = values_of(20000, 3, 0.7);
    values.push_back(40);  // an outlier: to hold it costs more than to clip it
    Histogram histogram;
    histogram.add(values);
    const auto error_of = [&](double step) {
      double sum = 0;
      for (const float v : values) {
        const double magnitude = std::fabs(double{v}), q = std::min(std::nearbyint(magnitude / step), double(steps));
        sum += (magnitude - q * step) * (magnitude - q * step);
      }
      return sum;
    };
    double least = std::numeric_limits<double>::infinity();
    for (int share = 10; share <= 100; ++share) least = std::min(least, error_of(40.0 * share / (100.0 * steps)));
    const float best = histogram.best_step(steps);
    EXPECT_LT(best * static_cast<float>(steps), 40.0F);
    // The model of the error (uniform inside a step, the middle of a bin beyond) is good to a few percent.
    EXPECT_LE(error_of(best), 1.05 * least) << steps;
  }
}

TEST(HistogramTest, NothingAndZerosAndWhatIsNotFinite) {
  Histogram histogram;
  EXPECT_EQ(histogram.best_step(127), 1.0F);
  histogram.add(std::vector<float>(10, 0.0F));
  EXPECT_EQ(histogram.best_step(127), 1.0F);
  histogram.add(std::vector<float>{std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 2.0F});
  EXPECT_EQ(histogram.nonfinite(), 2);
  EXPECT_EQ(histogram.largest(), 2.0F);
  EXPECT_EQ(total(histogram), 1);
  histogram.add(std::vector<float>{std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min()});
  EXPECT_EQ(total(histogram), 3);
}

}  // namespace
}  // namespace elek
