// SPDX-License-Identifier: Apache-2.0
// With H_SS = L L', T = L^-1 H_S: and V = L^-1 W_S: the cost is |V|^2, and the update is H - T'T and W - T'V. Rows of removed
// channels keep their values and are never read again. Tests: tests/prune/elimination_test.cpp
#include "prune/elimination.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/at.h"
#include "core/error.h"
#include "prune/least_squares.h"

namespace elek {
namespace {

constexpr int64_t kBlockRows = 64;  // rows of H that one task updates

double* h_of(const ReaderFit& fit) { return static_cast<double*>(fit.moments.data()); }
double* w_of(const ReaderFit& fit) { return static_cast<double*>(fit.weights.data()); }

/// Scratch of one removal.
struct Removal {
  std::vector<double> factor;   // L [width, width], lower
  std::vector<double> rows;     // T [width, n]
  std::vector<double> weights;  // V [width, outputs]
};

/// Lower Cholesky factor of H's diagonal block from row `s`; false if it is not positive definite.
bool factorise(const ReaderFit& fit, int64_t s, std::vector<double>& factor) {
  const int64_t n = fit.columns(), width = fit.width;
  const double* h = h_of(fit);
  factor.assign(at(width * width), 0.0);
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = 0; j <= i; ++j) {
      double sum = h[(s + j) * n + s + i];
      for (int64_t k = 0; k < j; ++k) sum -= factor[at(i * width + k)] * factor[at(j * width + k)];
      if (i != j) {
        factor[at(i * width + j)] = sum / factor[at(j * width + j)];
      } else {
        if (!(sum > 0)) return false;
        factor[at(i * width + i)] = std::sqrt(sum);
      }
    }
  }
  return true;
}

/// rows <- L^-1 rows, `rows` [width, length].
void substitute(const std::vector<double>& factor, int64_t width, double* rows, int64_t length) {
  for (int64_t i = 0; i < width; ++i) {
    double* row = rows + i * length;
    for (int64_t k = 0; k < i; ++k) {
      const double f = factor[at(i * width + k)];
      const double* other = rows + k * length;
      for (int64_t j = 0; j < length; ++j) row[j] -= f * other[j];
    }
    const double inverse = 1 / factor[at(i * width + i)];
    for (int64_t j = 0; j < length; ++j) row[j] *= inverse;
  }
}

/// Cost of removing the channel from this fit; NaN if its block is not positive definite.
double cost_of(const ReaderFit& fit, int64_t channel, Removal& scratch) {
  const int64_t s = (channel - fit.first) * fit.width;
  if (!factorise(fit, s, scratch.factor)) return std::numeric_limits<double>::quiet_NaN();
  const double* w = w_of(fit) + s * fit.outputs;
  scratch.weights.assign(w, w + fit.width * fit.outputs);
  substitute(scratch.factor, fit.width, scratch.weights.data(), fit.outputs);
  double cost = 0;
  for (const double v : scratch.weights) cost += v * v;
  return cost;
}

/// Removes the channel from H and W; `scratch` holds its L and V from cost_of(). `gone` [channel]: 1 if it was removed before.
void remove(const ReaderFit& fit, int64_t channel, const std::vector<uint8_t>& gone, int threads, Removal& scratch) {
  const int64_t n = fit.columns(), width = fit.width, s = (channel - fit.first) * width;
  double* h = h_of(fit);
  const auto is_gone = [&](int64_t i) { return i < fit.channels * width && gone[at(fit.first + i / width)] != 0; };
  scratch.rows.resize(at(width * n));
  for (int64_t i = 0; i < width; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      const int64_t low = std::min(s + i, j), high = std::max(s + i, j);
      scratch.rows[at(i * n + j)] = is_gone(j) ? 0 : h[low * n + high];
    }
  }
  substitute(scratch.factor, width, scratch.rows.data(), n);
  run_tasks((n + kBlockRows - 1) / kBlockRows, threads, [&](int64_t block, int) {
    for (int64_t i = block * kBlockRows; i < std::min(n, (block + 1) * kBlockRows); ++i) {
      if (is_gone(i)) continue;
      double* row = h + i * n;
      double* w = w_of(fit) + i * fit.outputs;
      for (int64_t k = 0; k < width; ++k) {
        const double t = scratch.rows[at(k * n + i)];
        const double* other = scratch.rows.data() + k * n;
        for (int64_t j = i; j < n; ++j) row[j] -= t * other[j];
        const double* v = scratch.weights.data() + k * fit.outputs;
        for (int64_t j = 0; j < fit.outputs; ++j) w[j] -= t * v[j];
      }
    }
  });
}

bool reads(const ReaderFit& fit, int64_t channel) { return channel >= fit.first && channel < fit.first + fit.channels; }

}  // namespace

Elimination eliminate_channels(std::span<ReaderFit> fits, int64_t channels, int threads) {
  for (ReaderFit& fit : fits) {
    ELEK_CHECK(fit.first >= 0 && fit.first + fit.channels <= channels, "'" + fit.name + "' reads channels that do not exist");
    if (!invert_in_place(h_of(fit), fit.columns(), threads)) {
      throw InputError("refit costs of '" + fit.name + "': its moments are not positive definite (too few images for " +
                       std::to_string(fit.columns()) + " unknowns?); use more calibration images");
    }
  }
  Elimination made;
  made.costs.resize(at(channels), 0.0);
  std::vector<int64_t> left;
  for (int64_t c = 0; c < channels; ++c) left.push_back(c);
  std::vector<uint8_t> gone(at(channels), 0);
  std::vector<Removal> scratch(at(threads));
  std::vector<double> costs(at(channels));
  double total = 0;
  while (!left.empty()) {
    run_tasks(std::ssize(left), threads, [&](int64_t i, int thread) {
      double& cost = costs[at(left[at(i)])] = 0;
      for (const ReaderFit& fit : fits) {
        if (reads(fit, left[at(i)])) cost += cost_of(fit, left[at(i)], scratch[at(thread)]);
      }
    });
    const auto cheapest =
        std::min_element(left.begin(), left.end(), [&](int64_t a, int64_t b) { return costs[at(a)] < costs[at(b)]; });
    const int64_t channel = *cheapest;
    left.erase(cheapest);
    for (const ReaderFit& fit : fits) {
      if (!reads(fit, channel)) continue;
      if (!std::isfinite(cost_of(fit, channel, scratch[0]))) {
        throw InputError("refit costs of '" + fit.name + "': no finite cost for channel " + std::to_string(channel) +
                         "; check that the calibration images are what the network expects");
      }
      remove(fit, channel, gone, threads, scratch[0]);
    }
    gone[at(channel)] = 1;
    total += costs[at(channel)];
    made.order.push_back(channel);
    made.costs[at(channel)] = total;
  }
  return made;
}

}  // namespace elek
