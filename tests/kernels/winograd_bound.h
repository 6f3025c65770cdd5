// SPDX-License-Identifier: Apache-2.0
// What the Winograd kernels' error bound is made of (docs/winograd.md): the transforms, and products of absolute values.
// Used by tests/kernels/winograd_test.cpp for every output, by bench/kernels_bench.cpp for some of a large layer.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/cpu/winograd.h"
#include "tests/kernels/conv_problem.h"

namespace elek::kernels::conv_case {

using Matrix = std::vector<std::vector<double>>;
struct Matrices {
  Matrix at, g, bt;
};
inline Matrices matrices(WinogradTile tile) {
  if (tile == WinogradTile::k2x2)
    return {{{1, 1, 1, 0}, {0, 1, -1, 1}},
            {{1, 0, 0}, {.5, .5, .5}, {.5, -.5, .5}, {0, 0, 1}},
            {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}}};
  const double a = std::sqrt(.5), b = std::sqrt(2.);
  return {{{1, 1, 1, 1, 1, 0}, {0, a, -a, b, -b, 0}, {0, .5, .5, 2, 2, 0}, {0, a / 2, -a / 2, 2 * b, -2 * b, 1}},
          {{1, 0, 0},
           {-2 / 3., -2 * a / 3, -1 / 3.},
           {-2 / 3., 2 * a / 3, -1 / 3.},
           {1 / 6., b / 6, 1 / 3.},
           {1 / 6., -b / 6, 1 / 3.},
           {0, 0, 1}},
          {{1, 0, -2.5, 0, 1, 0},
           {0, -2 * a, -2, a, 1, 0},
           {0, 2 * a, -2, -a, 1, 0},
           {0, -b / 2, -.5, b, 1, 0},
           {0, b / 2, -.5, -b, 1, 0},
           {0, 1, 0, -2.5, 0, 1}}};
}

/// |M| |X| |M|^T of a square patch.
inline std::vector<double> sandwich(const Matrix& m, const std::vector<double>& x) {
  const size_t rows = m.size(), n = m[0].size();
  std::vector<double> t(rows * n, 0), y(rows * rows, 0);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < n; ++j)
      for (size_t k = 0; k < n; ++k) t[i * n + j] += std::fabs(m[i][k]) * std::fabs(x[k * n + j]);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < rows; ++j)
      for (size_t k = 0; k < n; ++k) y[i * rows + j] += t[i * n + k] * std::fabs(m[j][k]);
  return y;
}

/// The bound of one output: (C + 19) * 2^-24 * the magnitude that the transforms give its tile.
inline double winograd_bound_at(const Problem& p, WinogradTile tile, int64_t n, int64_t k, int64_t row, int64_t column) {
  const Shape& c = p.spec;
  const Matrices mats = matrices(tile);
  const auto m = static_cast<int64_t>(tile);
  const int64_t ty = row / m * m, tx = column / m * m;
  std::vector<double> product(static_cast<size_t>((m + 2) * (m + 2)), 0);
  for (int64_t ch = 0; ch < c.channels; ++ch) {
    std::vector<double> patch;
    for (int64_t i = 0; i < m + 2; ++i)
      for (int64_t j = 0; j < m + 2; ++j) patch.push_back(p.input(n, ch, ty - c.padding + i, tx - c.padding + j));
    const std::vector<double> v = sandwich(mats.bt, patch);
    const auto w = p.w.begin() + static_cast<long>((k * c.channels + ch) * 9);
    const std::vector<double> u = sandwich(mats.g, {w, w + 9});
    for (size_t q = 0; q < product.size(); ++q) product[q] += v[q] * u[q];
  }
  const double r = c.residual ? p.residual.data[index_of(p.y_view(), n, k, row, column)] : 0.0;
  return static_cast<double>(c.channels + 19) * std::ldexp(1.0, -24) *
         (sandwich(mats.at, product)[static_cast<size_t>((row - ty) * m + column - tx)] +
          std::fabs(static_cast<double>(p.bias.data[k])) + std::fabs(r));
}

}  // namespace elek::kernels::conv_case
