// SPDX-License-Identifier: Apache-2.0
// Columns are stored transposed, [unknowns, positions]. So each row is a shifted copy of an image's rows, and both products
// read memory in order. Borders are zeros, as the convolution pads them, so the moments are exact there too.
// Tests: tests/prune/moments_test.cpp
#include "prune/moments.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "prune/least_squares.h"

namespace elek {
namespace {

/// Terms that a product sums in f32 before it is added in f64 (whole output rows, at least one). Large enough for a fast matrix
/// product, small enough that f32's part of the error stays near 1e-6.
constexpr int64_t kChunkPositions = 4096;

int64_t chunk_rows(const FitShape& s) { return std::max<int64_t>(1, kChunkPositions / s.output_width()); }

size_t moments_bytes(const FitShape& s) { return at((s.groups * s.unknowns() + s.outputs) * s.unknowns()) * sizeof(double); }

size_t chunk_bytes(const FitShape& s, int threads) {
  const int64_t positions = chunk_rows(s) * s.output_width();
  return at((s.groups * s.unknowns() + s.outputs) * positions + threads * kTile * kTile) * sizeof(float);
}

size_t sparse_bytes(const FitShape& s, int threads) { return at(threads * (s.unknowns() + 1) * s.unknowns()) * sizeof(double); }

bool all_finite(const double* values, int64_t count) {
  return std::all_of(values, values + count, [](double v) { return std::isfinite(v); });
}

}  // namespace

double FitShape::product_macs() const {
  const auto n = static_cast<double>(unknowns());
  const auto positions = static_cast<double>(output_height() * output_width());
  return positions * n * (static_cast<double>(groups) * (n + 1) / 2 + static_cast<double>(outputs));
}

size_t FitMoments::bytes(const FitShape& shape, bool sparse, int threads) {
  return moments_bytes(shape) + chunk_bytes(shape, threads) + (sparse ? sparse_bytes(shape, threads) : 0);
}

FitMoments::FitMoments(FitShape shape, bool sparse, int threads, MemoryResource& resource)
    : shape_(std::move(shape)), threads_(threads), chunk_rows_(chunk_rows(shape_)) {
  ELEK_CHECK(threads >= 1, "threads " + std::to_string(threads));
  ELEK_CHECK(std::ssize(shape_.targets) == shape_.outputs, "'" + shape_.name + "': " + std::to_string(shape_.targets.size()) +
                                                               " targets for " + std::to_string(shape_.outputs) + " outputs");
  moments_ = Buffer(moments_bytes(shape_), resource, {shape_.name + ".moments", Use::kMoments});
  std::memset(moments_.data(), 0, moments_.bytes());
  chunk_ = Buffer(chunk_bytes(shape_, threads_), resource, {shape_.name + ".columns", Use::kMoments});
  if (sparse) sparse_ = Buffer(sparse_bytes(shape_, threads_), resource, {shape_.name + ".rows", Use::kMoments});
}

double* FitMoments::a(int64_t group) const {
  return static_cast<double*>(moments_.data()) + group * shape_.unknowns() * shape_.unknowns();
}

double* FitMoments::b(int64_t output) const { return a(shape_.groups) + output * shape_.unknowns(); }

std::span<const double> FitMoments::second_moments(int64_t group) const {
  return {a(group), at(shape_.unknowns() * shape_.unknowns())};
}

std::span<double> FitMoments::second_moments(int64_t group) { return {a(group), at(shape_.unknowns() * shape_.unknowns())}; }

std::span<const double> FitMoments::cross_moments(int64_t output) const { return {b(output), at(shape_.unknowns())}; }

void FitMoments::fail(const std::string& what) const {
  throw Hinted<InputError>(Hint::kRepairBatchNorm, "refit of '" + shape_.name + "': " + what);
}

/// Rows are counted over samples: row r is output row r % P of sample r / P.
void FitMoments::fill_columns(const float* x, int64_t first_row, int64_t rows) {
  const FitShape& s = shape_;
  const int64_t height = s.output_height(), width = s.output_width(), taps = s.kernel.area();
  const int64_t length = rows * width;
  auto* columns = static_cast<float*>(chunk_.data());
  run_tasks(s.groups * s.unknowns(), threads_, [&](int64_t row, int) {
    float* to = columns + row * length;
    const int64_t column = row % s.unknowns();
    if (column == s.columns()) {
      std::fill_n(to, length, 1.0F);
      return;
    }
    const int64_t channel = row / s.unknowns() * (s.input.channels / s.groups) + column / taps;
    const int64_t r = column % taps / s.kernel.width, t = column % s.kernel.width;
    for (int64_t i = first_row; i < first_row + rows; ++i, to += width) {
      const int64_t h = i % height * s.stride.height - s.padding.top + r * s.dilation.height;
      if (h < 0 || h >= s.input.height) {
        std::fill_n(to, width, 0.0F);
        continue;
      }
      const float* from = x + ((i / height * s.input.channels + channel) * s.input.height + h) * s.input.width;
      for (int64_t q = 0; q < width; ++q) {
        const int64_t w = q * s.stride.width - s.padding.left + t * s.dilation.width;
        to[q] = w >= 0 && w < s.input.width ? from[w] : 0.0F;
      }
    }
  });
}

void FitMoments::fill_targets(const FitTargets& wanted, int64_t first_row, int64_t rows) {
  const FitShape& s = shape_;
  const int64_t height = s.output_height(), width = s.output_width(), length = rows * width;
  float* targets = static_cast<float*>(chunk_.data()) + s.groups * s.unknowns() * length;
  run_tasks(s.outputs, threads_, [&](int64_t k, int) {
    float* to = targets + k * length;
    for (int64_t i = first_row; i < first_row + rows; ++i, to += width) {
      const int64_t sample = i / height, row = i % height;
      const float* z = wanted.z.data() + ((sample * s.target_channels + s.targets[at(k)]) * height + row) * width;
      if (wanted.rest.empty()) {
        std::copy_n(z, width, to);
        continue;
      }
      const TargetScale& scale = wanted.scales[at(k)];
      const int64_t first = ((sample * s.outputs + k) * height + row) * width;
      for (int64_t q = 0; q < width; ++q) {
        double left = z[q];
        for (const std::span<const float> rest : wanted.rest) left -= rest[at(first + q)];
        to[q] = static_cast<float>(scale.factor * left + scale.shift);
      }
    }
  });
}

void FitMoments::add(std::span<const float> x, const FitTargets& wanted, int64_t samples) {
  const FitShape& s = shape_;
  const int64_t height = s.output_height(), width = s.output_width(), n = s.unknowns();
  ELEK_CHECK(
      std::ssize(x) == samples * s.input.elements() && std::ssize(wanted.z) == samples * s.target_channels * height * width,
      "'" + s.name + "': " + std::to_string(x.size()) + " inputs and " + std::to_string(wanted.z.size()) + " targets for " +
          std::to_string(samples) + " samples of " + to_string(s.input));
  for (const std::span<const float> rest : wanted.rest) {
    ELEK_CHECK(std::ssize(rest) == samples * s.outputs * height * width && std::ssize(wanted.scales) == s.outputs,
               "'" + s.name + "': " + std::to_string(rest.size()) + " values of the rest and " +
                   std::to_string(wanted.scales.size()) + " scales for " + std::to_string(samples) + " samples");
  }
  auto* chunk = static_cast<float*>(chunk_.data());
  for (int64_t first = 0; first < samples * height; first += chunk_rows_) {
    const int64_t rows = std::min(chunk_rows_, samples * height - first);
    const int64_t length = rows * width;
    fill_columns(x.data(), first, rows);
    fill_targets(wanted, first, rows);
    const float* targets = chunk + s.groups * n * length;
    float* tiles = chunk + (s.groups * n + s.outputs) * length;
    const int64_t outputs = s.outputs / s.groups;
    std::vector<Products> jobs;
    for (int64_t g = 0; g < s.groups; ++g) {
      const float* u = chunk + g * n * length;
      jobs.push_back({u, u, n, n, length, a(g), n, true});
      jobs.push_back({targets + g * outputs * length, u, outputs, n, length, b(g * outputs), n, false});
    }
    add_products(jobs, threads_, tiles);
  }
  samples_ += samples;
}

void FitMoments::check_and_load_diagonal(double ridge) {
  const FitShape& s = shape_;
  const int64_t n = s.unknowns();
  if (samples_ == 0) fail("the calibration data has no sample");
  for (int64_t g = 0; g < s.groups; ++g) {
    double* matrix = a(g);
    for (int64_t i = 0; i < n; ++i) {
      if (!all_finite(matrix + i * n + i, n - i)) {
        fail("its inputs have NaN or infinite values; check that the calibration images are what the network expects");
      }
    }
    double total = 0;
    for (int64_t i = 0; i < s.columns(); ++i) total += matrix[i * n + i];
    // The inputs are all zero, so every weight fits equally well. The ridge makes the weights zero; the bias becomes the mean
    // of z.
    if (total == 0)
      warn("refit of '" + s.name + "': all its inputs are zero on the calibration images; only its bias is fitted");
    const double load = total > 0 ? ridge * total / static_cast<double>(s.columns()) : 1.0;
    for (int64_t i = 0; i < s.columns(); ++i) matrix[i * n + i] += load;
  }
  if (!all_finite(b(0), s.outputs * n)) fail("its outputs in the dense network have NaN or infinite values");
}

void FitMoments::store(int64_t output, const double* solution, std::span<float> weights, std::span<float> bias) const {
  const int64_t columns = shape_.columns();
  for (int64_t i = 0; i < columns; ++i) weights[at(output * columns + i)] = static_cast<float>(solution[i]);
  if (shape_.bias) bias[at(output)] = static_cast<float>(solution[columns]);
}

/// An output with zero weights is fitted on its other columns only, so it needs its own sub-matrix of A.
void FitMoments::solve_sparse_rows(std::span<float> weights, std::span<float> bias, std::vector<uint8_t>& done) {
  const FitShape& s = shape_;
  const int64_t n = s.unknowns(), columns = s.columns();
  std::atomic<bool> solved{true};
  run_tasks(s.outputs, threads_, [&](int64_t k, int thread) {
    float* row = weights.data() + k * columns;
    if (std::find(row, row + columns, 0.0F) == row + columns) return;
    done[at(k)] = 1;
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < n; ++i) {
      if (i == columns || row[i] != 0.0F) kept.push_back(i);
    }
    if (kept.empty()) return;
    const int64_t m = std::ssize(kept);
    const double* full = a(k / (s.outputs / s.groups));
    double* matrix = static_cast<double*>(sparse_.data()) + thread * (n + 1) * n;
    double* side = matrix + n * n;
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = i; j < m; ++j) matrix[i * m + j] = full[kept[at(i)] * n + kept[at(j)]];
      side[i] = b(k)[kept[at(i)]];
    }
    if (!solve_in_place(matrix, m, side, 1, 1) || !all_finite(side, m)) {
      solved = false;
      return;
    }
    for (int64_t i = 0; i < m; ++i) {
      (kept[at(i)] == columns ? bias[at(k)] : row[kept[at(i)]]) = static_cast<float>(side[i]);
    }
  });
  if (!solved) fail("the moments of a masked output are not positive definite");
}

void FitMoments::solve(std::span<float> weights, std::span<float> bias, double ridge) {
  const FitShape& s = shape_;
  ELEK_CHECK(std::ssize(weights) == s.outputs * s.columns() && (!s.bias || std::ssize(bias) == s.outputs),
             "'" + s.name + "': " + std::to_string(weights.size()) + " weights and " + std::to_string(bias.size()) + " biases");
  check_and_load_diagonal(ridge);
  std::vector<uint8_t> done(at(s.outputs), 0);
  if (sparse_.bytes() > 0) solve_sparse_rows(weights, bias, done);
  const int64_t outputs = s.outputs / s.groups;
  std::atomic<bool> solved{true};
  run_tasks(s.groups, threads_, [&](int64_t g, int) {
    if (std::find(done.begin() + g * outputs, done.begin() + (g + 1) * outputs, 0) == done.begin() + (g + 1) * outputs) return;
    if (!solve_in_place(a(g), s.unknowns(), b(g * outputs), outputs, s.groups > 1 ? 1 : threads_)) solved = false;
  });
  if (!solved)
    fail("its moments are not positive definite (too few images for " + std::to_string(s.unknowns()) +
         " unknowns?); use more calibration images");
  for (int64_t k = 0; k < s.outputs; ++k) {
    if (done[at(k)] != 0) continue;
    if (!all_finite(b(k), s.unknowns())) fail("output " + std::to_string(k) + " has no finite solution");
    store(k, b(k), weights, bias);
  }
}

}  // namespace elek
