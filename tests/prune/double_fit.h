// SPDX-License-Identifier: Apache-2.0
// Least squares in double, as a reference for the refit and its costs: Gaussian elimination with partial pivoting on stored
// moments. It uses no Cholesky, no BLAS and nothing of prune/, so it cannot share an error with them.
#pragma once

#include <cmath>
#include <cstddef>
#include <utility>
#include <vector>

namespace elek::test {

using Matrix = std::vector<std::vector<double>>;

/// Solves a x = b for every column of `b`; the solutions replace `b`.
inline void eliminate(Matrix a, Matrix& b) {
  const size_t n = a.size();
  for (size_t i = 0; i < n; ++i) {
    size_t pivot = i;
    for (size_t r = i + 1; r < n; ++r) pivot = std::fabs(a[r][i]) > std::fabs(a[pivot][i]) ? r : pivot;
    std::swap(a[i], a[pivot]);
    std::swap(b[i], b[pivot]);
    for (size_t r = 0; r < n; ++r) {
      const double f = r == i ? 0 : a[r][i] / a[i][i];
      if (f == 0) continue;
      for (size_t c = i; c < n; ++c) a[r][c] -= f * a[i][c];
      for (size_t c = 0; c < b[r].size(); ++c) b[r][c] -= f * b[i][c];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (double& value : b[i]) value /= a[i][i];
  }
}

/// Solves a x = b for the unknowns in `stay` only; the others are zero.
inline std::vector<double> solve_on(const std::vector<size_t>& stay, const Matrix& a, const std::vector<double>& b) {
  Matrix sub, side;
  for (const size_t r : stay) {
    side.push_back({b[r]});
    sub.emplace_back();
    for (const size_t c : stay) sub.back().push_back(a[r][c]);
  }
  eliminate(std::move(sub), side);
  std::vector<double> x(b.size(), 0.0);
  for (size_t i = 0; i < stay.size(); ++i) x[stay[i]] = side[i][0];
  return x;
}

/// (v - w)' a (v - w), where v are the best weights on the unknowns that stay: the loss from removing the others, if w is the
/// minimum.
inline double loss_on(const std::vector<size_t>& stay, const Matrix& a, const std::vector<double>& w) {
  std::vector<double> b(w.size(), 0.0);
  for (size_t r = 0; r < w.size(); ++r) {
    for (size_t c = 0; c < w.size(); ++c) b[r] += a[r][c] * w[c];
  }
  std::vector<double> d = solve_on(stay, a, b);
  double loss = 0;
  for (size_t i = 0; i < w.size(); ++i) d[i] -= w[i];
  for (size_t i = 0; i < w.size(); ++i) {
    for (size_t j = 0; j < w.size(); ++j) loss += d[i] * a[i][j] * d[j];
  }
  return loss;
}

}  // namespace elek::test
