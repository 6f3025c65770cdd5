// SPDX-License-Identifier: Apache-2.0
#include "core/mean_interval.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <string>

#include "core/error.h"

namespace elek {
namespace {

struct Sample {
  double mean = 0;
  double squared_error = 0;  // of the mean
  double degrees = 0;
};

Sample sample_of(std::span<const double> values) {
  ELEK_CHECK(values.size() >= 2, "an interval needs two values, found " + std::to_string(values.size()));
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  return {mean, squares / (n - 1) / n, n - 1};
}

/// The upper tail P(T > t): Simpson's rule over the density, in the angle theta = atan(t / sqrt(degrees)), in which the density
/// is cos^(degrees - 1) and the range is finite.
double upper_tail(double t, double degrees) {
  constexpr int kParts = 400;
  const double from = std::atan(t / std::sqrt(degrees)), to = std::numbers::pi / 2, step = (to - from) / kParts;
  double sum = 0;
  for (int i = 0; i <= kParts; ++i) {
    const double weight = i == 0 || i == kParts ? 1 : i % 2 == 1 ? 4 : 2;
    const double cosine = std::max(0.0, std::cos(from + step * i));
    sum += weight * std::pow(cosine, degrees - 1);
  }
  const double scale = std::exp(std::lgamma((degrees + 1) / 2) - std::lgamma(degrees / 2)) / std::sqrt(std::numbers::pi);
  return scale * sum * step / 3;
}

}  // namespace

double student_t975(double degrees) {
  ELEK_CHECK(degrees >= 1, "Student's t needs a degree of freedom, found " + std::to_string(degrees));
  double low = 1.9, high = 13;  // 1.96 for many degrees, 12.71 for one
  while (high - low > 1e-7) {
    const double middle = (low + high) / 2;
    (upper_tail(middle, degrees) > 0.025 ? low : high) = middle;
  }
  return (low + high) / 2;
}

MeanInterval mean_interval(std::span<const double> values) {
  const Sample s = sample_of(values);
  const double reach = student_t975(s.degrees) * std::sqrt(s.squared_error);
  return {s.mean, s.mean - reach, s.mean + reach};
}

MeanInterval difference_interval(std::span<const double> a, std::span<const double> b) {
  const Sample x = sample_of(a), y = sample_of(b);
  const double mean = x.mean - y.mean, squared = x.squared_error + y.squared_error;
  if (squared == 0) return {mean, mean, mean};
  const double degrees =
      squared * squared / (x.squared_error * x.squared_error / x.degrees + y.squared_error * y.squared_error / y.degrees);
  const double reach = student_t975(degrees) * std::sqrt(squared);
  return {mean, mean - reach, mean + reach};
}

}  // namespace elek
