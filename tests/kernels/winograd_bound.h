// SPDX-License-Identifier: Apache-2.0
// The parts of the Winograd kernels' error bound (docs/winograd.md): the transforms, and products of absolute values.
// tests/kernels/winograd_test.cpp uses it for every output, bench/kernels_bench.cpp for some outputs of a large layer.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/cpu/winograd.h"
#include "tests/kernels/conv_problem.h"

namespace elek::kernels::cpu::conv_case {

using Matrix = std::vector<std::vector<double>>;
struct Matrices {
  Matrix at, g, bt;  // [outputs][grid], [grid][3], [grid][outputs + 2]; zero at points that the tile does not use
};

/// The number of outputs of the 1-D transform that computes an output, and the first of them: F(4)'s last tile makes 3 or 2 if
/// 4 do not fit.
struct Span {
  int64_t first, outputs;
};
inline Span span_at(WinogradTile tile, int64_t size, int64_t at) {
  const auto m = static_cast<int64_t>(tile);
  const int64_t first = at / m * m, left = size - first;
  if (tile == WinogradTile::k2x2 || left >= 4) return {first, m};
  return {first, left == 3 ? 3 : 2};
}

/// The matrices of the definition (docs/winograd.md), not of the kernels' arithmetic. G is that of the whole grid. B^T's row at
/// one of the tile's points p is the product of (x - q) over its other finite points q, times the product of (p - q) over the
/// points that the tile does not use.
inline Matrices matrices(WinogradTile tile, int64_t outputs) {
  const double a = std::sqrt(.5), b = std::sqrt(2.);
  const bool four = tile == WinogradTile::k4x4;
  const std::vector<double> all = four ? std::vector<double>{0, a, -a, b, -b} : std::vector<double>{0, 1, -1};
  const auto used = [&](double p) { return !four || outputs == 4 || (outputs == 3 ? p != 0 : std::fabs(p) != b); };
  const size_t grid = all.size() + 1, m = static_cast<size_t>(outputs);
  Matrices mats{Matrix(m, std::vector<double>(grid, 0)), Matrix(grid, std::vector<double>(3, 0)),
                Matrix(grid, std::vector<double>(m + 2, 0))};
  for (size_t i = 0; i < grid; ++i) {
    const bool infinity = i + 1 == grid;
    const double p = infinity ? 0 : all[i];
    double others = 1, factor = 1;
    std::vector<double> row{1};  // coefficients, lowest first
    for (size_t j = 0; j < all.size(); ++j) {
      if (j == i) continue;
      others *= p - all[j];
      if (!used(all[j])) {
        factor *= p - all[j];
        continue;
      }
      row.insert(row.begin(), 0);
      for (size_t k = 0; k + 1 < row.size(); ++k) row[k] -= all[j] * row[k + 1];
    }
    mats.g[i] = infinity ? std::vector<double>{0, 0, 1} : std::vector<double>{1 / others, p / others, p * p / others};
    if (!infinity && !used(p)) continue;
    for (size_t k = 0; k < row.size(); ++k) mats.bt[i][k] = (infinity ? 1 : factor) * row[k];
    for (size_t k = 0; k < m; ++k) mats.at[k][i] = infinity ? (k + 1 == m ? 1 : 0) : std::pow(p, static_cast<double>(k));
  }
  return mats;
}

/// |M| |X| |N|^T
inline std::vector<double> sandwich(const Matrix& m, const std::vector<double>& x, const Matrix& n) {
  const size_t rows = m.size(), columns = n.size(), high = m[0].size(), wide = n[0].size();
  std::vector<double> t(rows * wide, 0), y(rows * columns, 0);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < wide; ++j)
      for (size_t k = 0; k < high; ++k) t[i * wide + j] += std::fabs(m[i][k]) * std::fabs(x[k * wide + j]);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j)
      for (size_t k = 0; k < wide; ++k) y[i * columns + j] += t[i * wide + k] * std::fabs(n[j][k]);
  return y;
}

/// The tile that contains an output, and its pixels of one input channel.
struct TileOf {
  Span rows, columns;
  Matrices vertical, horizontal;
  TileOf(const Problem& p, WinogradTile tile, int64_t row, int64_t column)
      : rows(span_at(tile, p.oh, row)),
        columns(span_at(tile, p.ow, column)),
        vertical(matrices(tile, rows.outputs)),
        horizontal(matrices(tile, columns.outputs)) {}
  /// |B^T||x||B|
  [[nodiscard]] std::vector<double> points(const Problem& p, int64_t n, int64_t ch) const {
    std::vector<double> patch;
    for (int64_t i = 0; i < rows.outputs + 2; ++i)
      for (int64_t j = 0; j < columns.outputs + 2; ++j)
        patch.push_back(p.input(n, ch, rows.first - p.spec.padding.top + i, columns.first - p.spec.padding.left + j));
    return sandwich(vertical.bt, patch, horizontal.bt);
  }
};

/// |G||w||G|^T of output channel k and input channel ch.
inline std::vector<double> weight_points(const Problem& p, const Matrix& g, int64_t k, int64_t ch) {
  const auto w = p.w.begin() + static_cast<long>((k * p.spec.channels + ch) * 9);
  return sandwich(g, {w, w + 9}, g);
}

/// (C + 26) * 2^-24 * (`magnitude` + |bias| + |residual|) for one output; `magnitude` comes from the transforms of absolute
/// values.
inline double bound_of(const Problem& p, double magnitude, int64_t n, int64_t k, int64_t row, int64_t column) {
  const double r = p.spec.residual ? p.residual.data[index_of(p.y_view(), n, k, row, column)] : 0.0;
  return static_cast<double>(p.spec.channels + 26) * std::ldexp(1.0, -24) *
         (magnitude + std::fabs(static_cast<double>(p.bias.data[k])) + std::fabs(r));
}

/// The bound of one output.
inline double winograd_bound_at(const Problem& p, WinogradTile tile, int64_t n, int64_t k, int64_t row, int64_t column) {
  const TileOf t(p, tile, row, column);
  std::vector<double> product(t.vertical.g.size() * t.vertical.g.size(), 0);
  for (int64_t ch = 0; ch < p.spec.channels; ++ch) {
    const std::vector<double> v = t.points(p, n, ch), u = weight_points(p, t.vertical.g, k, ch);
    for (size_t q = 0; q < product.size(); ++q) product[q] += v[q] * u[q];
  }
  const std::vector<double> magnitude = sandwich(t.vertical.at, product, t.horizontal.at);
  return bound_of(p, magnitude[static_cast<size_t>((row - t.rows.first) * t.columns.outputs + column - t.columns.first)], n, k,
                  row, column);
}

}  // namespace elek::kernels::cpu::conv_case
