// SPDX-License-Identifier: Apache-2.0
// Tests: tests/quantize/round_weights_test.cpp
#include "quantize/round_weights.h"

#include <algorithm>
#include <cmath>

#include "core/at.h"
#include "core/error.h"
#include "elek/memory.h"
#include "graph/integer_values.h"
#include "prune/least_squares.h"

namespace elek {
namespace {

/// The integer nearest to value / scale. Never -0, which a file of integers cannot hold.
double nearest(double value, double scale) {
  constexpr double kLargest = kLargestWeight;
  return std::clamp(std::nearbyint(value / scale), -kLargest, kLargest) + 0.0;
}

/// The moments without the mean: what is left for the weights if each output's bias is the best one for them.
struct Centred {
  double* a;                           // [n + 1, n + 1], j >= i: the upper left [n, n] is A - a a' / count
  std::vector<double> mean;            // [n]: of the inputs
  std::vector<std::vector<double>> b;  // [outputs][n]: B - b mean(z)
  std::vector<double> mean_z;          // [outputs]
  double count = 0;
};

Centred centre(const std::string& name, FitMoments& moments, const FitShape& shape) {
  const int64_t n = shape.columns(), pitch = n + 1;
  Centred made;
  made.a = moments.second_moments(0).data();
  made.count = made.a[n * pitch + n];
  for (int64_t i = 0; i <= n; ++i) {
    for (int64_t j = i; j <= n; ++j) {
      if (!std::isfinite(made.a[i * pitch + j])) {
        throw InputError("quantise '" + name + "': its inputs have NaN or infinite values on the calibration images");
      }
    }
  }
  for (int64_t i = 0; i < n; ++i) made.mean.push_back(made.a[i * pitch + n] / made.count);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i; j < n; ++j) made.a[i * pitch + j] -= made.a[i * pitch + n] * made.mean[at(j)];
  }
  for (int64_t k = 0; k < shape.outputs; ++k) {
    const std::span<const double> cross = moments.cross_moments(k);
    made.mean_z.push_back(cross[at(n)] / made.count);
    std::vector<double>& row = made.b.emplace_back(at(n));
    for (int64_t i = 0; i < n; ++i) row[at(i)] = cross[at(i)] - cross[at(n)] * made.mean[at(i)];
    if (!std::all_of(row.begin(), row.end(), [](double v) { return std::isfinite(v); })) {
      throw InputError("quantise '" + name + "': its outputs have NaN or infinite values on the calibration images");
    }
  }
  return made;
}

/// y = A x with only j >= i of A stored.
void multiply(const double* a, int64_t n, int64_t pitch, const double* x, double* y) {
  std::fill_n(y, n, 0.0);
  for (int64_t i = 0; i < n; ++i) {
    double sum = a[i * pitch + i] * x[i];
    for (int64_t j = i + 1; j < n; ++j) {
      sum += a[i * pitch + j] * x[j];
      y[j] += a[i * pitch + j] * x[i];
    }
    y[i] += sum;
  }
}

}  // namespace

std::vector<float> weight_scales(std::span<const float> weights, int64_t outputs) {
  ELEK_CHECK(outputs > 0 && std::ssize(weights) % outputs == 0, "weight_scales: rows of one length");
  const size_t row = weights.size() / at(outputs);
  std::vector<float> scales;
  for (size_t k = 0; k < at(outputs); ++k) {
    float largest = 0;
    for (const float w : weights.subspan(k * row, row)) largest = std::max(largest, std::fabs(w));
    scales.push_back(largest > 0 ? largest / static_cast<float>(kLargestWeight) : 1.0F);
  }
  return scales;
}

void round_to_nearest(std::span<float> weights, std::span<const float> scales) {
  const size_t row = weights.size() / scales.size();
  for (size_t i = 0; i < weights.size(); ++i) {
    const float scale = scales[i / row];
    weights[i] = static_cast<float>(nearest(double{weights[i]}, double{scale})) * scale;
  }
}

size_t round_by_moments_bytes(const FitShape& shape) {
  return at(shape.columns() * (shape.columns() + 2 * shape.outputs)) * sizeof(double);
}

RoundedByMoments round_by_moments(FitMoments& moments, const FitShape& shape, int threads, MemoryResource& resource,
                                  std::span<float> weights, std::span<float> bias) {
  const std::string& name = shape.name;
  const int64_t n = shape.columns(), pitch = n + 1;
  ELEK_CHECK(shape.groups == 1 && shape.bias && std::ssize(weights) == shape.outputs * n && std::ssize(bias) == shape.outputs,
             "'" + name + "': weights or bias of another layer");
  Centred c = centre(name, moments, shape);
  // The matrix of the weights alone, dense. It is factorised in place; the products for the errors come before.
  const Buffer work(round_by_moments_bytes(shape), resource, {name + ".factor", Use::kMoments});
  auto* const a = static_cast<double*>(work.data());
  double* const change = a + n * n;
  double* const fitted = change + shape.outputs * n;
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += c.a[i * pitch + i];
  const double ridge = trace > 0 ? kRidge * trace / static_cast<double>(n) : 1.0;
  for (int64_t i = 0; i < n; ++i) {
    std::copy_n(c.a + i * pitch + i, n - i, a + i * n + i);
    a[i * n + i] += ridge;
  }
  // Right-hand sides of the change of the weights: B - A w, so that the ridge pulls towards the old weights.
  run_tasks(shape.outputs, threads, [&](int64_t k, int) {
    std::vector<double> old(at(n)), product(at(n));
    for (int64_t i = 0; i < n; ++i) old[at(i)] = weights[at(k * n + i)];
    multiply(c.a, n, pitch, old.data(), product.data());
    for (int64_t i = 0; i < n; ++i) change[k * n + i] = c.b[at(k)][at(i)] - product[at(i)];
  });
  if (!solve_in_place(a, n, change, shape.outputs, threads)) {
    throw InputError("quantise '" + name + "': the moments of its input are not positive definite; use more images");
  }
  RoundedByMoments made;
  for (int64_t k = 0; k < shape.outputs; ++k) {
    const std::span<float> row = weights.subspan(at(k * n), at(n));
    const bool masked = std::find(row.begin(), row.end(), 0.0F) != row.end();  // the fit would fill its zeros
    for (int64_t i = 0; i < n; ++i) {
      fitted[k * n + i] = double{row[at(i)]} + (masked ? 0.0 : change[k * n + i]);
      row[at(i)] = static_cast<float>(fitted[k * n + i]);
    }
  }
  made.scales = weight_scales(weights, shape.outputs);
  std::vector<double> errors(at(shape.outputs)), errors_nearest(at(shape.outputs));
  run_tasks(shape.outputs, threads, [&](int64_t k, int) {
    const double scale = made.scales[at(k)];
    std::vector<double> left(at(n)), product(at(n));  // w - q of the rounded columns
    const double* const w = fitted + k * n;
    for (int64_t i = n - 1; i >= 0; --i) {
      const double* const u = a + i * n;
      double centre = 0;
      for (int64_t j = i + 1; j < n; ++j) centre += u[j] * left[at(j)];
      centre = w[i] + centre / u[i];
      const double q = w[i] == 0 ? 0 : nearest(centre, scale) * scale;
      left[at(i)] = w[i] - q;
      weights[at(k * n + i)] = static_cast<float>(q / scale) * made.scales[at(k)];
    }
    const auto error_of = [&](const std::vector<double>& gap) {
      multiply(c.a, n, pitch, gap.data(), product.data());
      double error = 0;
      for (int64_t i = 0; i < n; ++i) error += gap[at(i)] * product[at(i)];
      return error;
    };
    errors[at(k)] = error_of(left);
    double mean = c.mean_z[at(k)];
    for (int64_t i = 0; i < n; ++i) {
      mean -= double{weights[at(k * n + i)]} * c.mean[at(i)];
      left[at(i)] = w[i] - nearest(w[i], scale) * scale;
    }
    bias[at(k)] = static_cast<float>(mean);
    errors_nearest[at(k)] = error_of(left);
  });
  for (size_t k = 0; k < errors.size(); ++k) made.error += errors[k], made.error_nearest += errors_nearest[k];
  return made;
}

}  // namespace elek
