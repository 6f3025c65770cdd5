// SPDX-License-Identifier: Apache-2.0
// Cholesky factor, solves and inverse of a symmetric positive definite matrix, block by block: A = U' U, U upper triangular.
// Almost all work is products of blocks (prune/dense.h); only the diagonal blocks are factorised and inverted one by one.
// The lower half of the matrix is free. It holds what the products read by rows: below the diagonal blocks U (later V = its
// inverse) transposed, and inside them the inverse of U's diagonal blocks, transposed too.
// Each block of a result is computed by one task, in a fixed order, so results do not depend on the number of threads.
// Method: G. Golub, C. Van Loan, Matrix Computations, section 4.2 (blocked), and LAPACK's trtri and lauum.
// Tests: tests/prune/least_squares_test.cpp
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "core/error.h"
#include "prune/dense.h"
#include "prune/least_squares.h"

namespace elek {
namespace {

using detail::kDenseBlock;

/// Room for a block in plain order and for a packed one; on the stack of each task.
struct Blocks {
  alignas(64) double plain[kDenseBlock * kDenseBlock];
  alignas(64) double packed[detail::kPackedDoubles];
};

/// The matrix [n, n], row-major. A block is named by its first row and column.
struct Matrix {
  double* a;
  int64_t n;

  [[nodiscard]] double* at(int64_t row, int64_t column) const { return a + row * n + column; }
  [[nodiscard]] int64_t size_of(int64_t block) const { return std::min(kDenseBlock, n - block); }
};

/// Copies rows to a plain block: its rows lie in few pages, and near each other in the cache.
detail::LeftRows copy_rows(const double* from, int64_t pitch, int64_t rows, int64_t columns, double* plain) {
  for (int64_t r = 0; r < rows; ++r) std::copy_n(from + r * pitch, columns, plain + r * kDenseBlock);
  return {plain, kDenseBlock};
}

void clear(double* c, int64_t pitch, int64_t rows, int64_t columns) {
  for (int64_t i = 0; i < rows; ++i) std::fill_n(c + i * pitch, columns, 0.0);
}

/// Writes block (i, j), i < j, of the upper half once more, transposed, to its place in the lower half.
void mirror(const Matrix& m, int64_t i, int64_t j) {
  for (int64_t r = 0; r < m.size_of(i); ++r)
    for (int64_t c = 0; c < m.size_of(j); ++c) *m.at(j + c, i + r) = *m.at(i + r, j + c);
}

/// Factorises the diagonal block in place. False unless every pivot is a positive number.
bool factorise_diagonal(const Matrix& m, int64_t k) {
  const int64_t size = m.size_of(k);
  for (int64_t p = 0; p < size; ++p) {
    double* row = m.at(k + p, k);
    if (!(row[p] > 0) || !std::isfinite(row[p])) return false;
    const double pivot = std::sqrt(row[p]);
    row[p] = pivot;
    for (int64_t j = p + 1; j < size; ++j) row[j] /= pivot;
    for (int64_t i = p + 1; i < size; ++i) {
      double* to = m.at(k + i, k);
      const double factor = row[i];
      for (int64_t j = i; j < size; ++j) to[j] -= factor * row[j];
    }
  }
  return true;
}

/// Computes V, the inverse of U's diagonal block, into `plain`, row by row from the last: row i of V is (e_i - sum over p > i
/// of U[i][p] V[p]) / U[i][i]. Keeps it in the strictly lower half of the block, transposed; V's diagonal is 1 / U's.
void keep_inverse_of_diagonal(const Matrix& m, int64_t k, double* plain) {
  const int64_t size = m.size_of(k);
  for (int64_t i = size - 1; i >= 0; --i) {
    double* row = plain + i * kDenseBlock;
    std::fill_n(row, size, 0.0);
    row[i] = 1;
    for (int64_t p = i + 1; p < size; ++p) {
      const double factor = *m.at(k + i, k + p);
      const double* other = plain + p * kDenseBlock;
      for (int64_t j = p; j < size; ++j) row[j] -= factor * other[j];
    }
    const double scale = 1 / *m.at(k + i, k + i);
    for (int64_t j = i; j < size; ++j) row[j] *= scale;
  }
  for (int64_t j = 0; j < size; ++j)
    for (int64_t i = 0; i < j; ++i) *m.at(k + j, k + i) = plain[i * kDenseBlock + j];
}

/// The kept V, or V', as a plain block with zeros in the other half.
void unpack_inverse(const Matrix& m, int64_t k, bool transposed, double* plain) {
  const int64_t size = m.size_of(k);
  for (int64_t i = 0; i < size; ++i) {
    double* row = plain + i * kDenseBlock;
    std::fill_n(row, size, 0.0);
    row[i] = 1 / *m.at(k + i, k + i);
    if (transposed) {
      std::copy_n(m.at(k + i, k), i, row);
    } else {
      for (int64_t j = i + 1; j < size; ++j) row[j] = *m.at(k + j, k + i);
    }
  }
}

/// Block (k, j) of U: V' times what is there.
void solve_panel_block(const Matrix& m, int64_t k, int64_t j, Blocks& blocks) {
  const int64_t size = m.size_of(k), columns = m.size_of(j);
  unpack_inverse(m, k, true, blocks.plain);
  detail::pack_block(m.at(k, j), m.n, size, columns, blocks.packed);
  clear(m.at(k, j), m.n, size, columns);
  detail::multiply_blocks({blocks.plain, kDenseBlock}, blocks.packed, size, size, columns, 1, {m.at(k, j), m.n});
  mirror(m, k, j);
}

/// Blocks (i, j), k < i <= j, lose the product of U's blocks (k, i), read by its mirrored rows, and (k, j).
void update_column(const Matrix& m, int64_t k, int64_t j, Blocks& blocks) {
  const int64_t depth = m.size_of(k), columns = m.size_of(j);
  detail::pack_block(m.at(k, j), m.n, depth, columns, blocks.packed);
  for (int64_t i = k + kDenseBlock; i <= j; i += kDenseBlock)
    detail::multiply_blocks(copy_rows(m.at(i, k), m.n, m.size_of(i), depth, blocks.plain), blocks.packed, depth, m.size_of(i),
                            columns, -1, {m.at(i, j), m.n, i == j});
}

bool factorise(const Matrix& m, int threads) {
  ELEK_CHECK(m.n > 0, "a system of " + std::to_string(m.n) + " unknowns");
  Blocks blocks;
  for (int64_t k = 0; k < m.n; k += kDenseBlock) {
    if (!factorise_diagonal(m, k)) return false;
    keep_inverse_of_diagonal(m, k, blocks.plain);
    const int64_t next = k + kDenseBlock, columns = (m.n - next + kDenseBlock - 1) / kDenseBlock;
    run_tasks(columns, threads, [&](int64_t task, int) {
      Blocks own;
      solve_panel_block(m, k, next + task * kDenseBlock, own);
    });
    run_tasks(columns, threads, [&](int64_t task, int) {  // the longest first
      Blocks own;
      update_column(m, k, next + (columns - 1 - task) * kDenseBlock, own);
    });
  }
  return true;
}

/// Right-hand sides [rows, n], one per row.
struct Sides {
  double* b;
  int64_t rows;
  int64_t n;
  [[nodiscard]] double* at(int64_t column) const { return b + column; }
};

/// Block k of every side becomes itself times V (or V').
void solve_diagonal(const Matrix& m, const Sides& sides, int64_t k, bool transposed, Blocks& blocks) {
  const int64_t size = m.size_of(k);
  unpack_inverse(m, k, transposed, blocks.plain);
  detail::pack_block(blocks.plain, kDenseBlock, size, size, blocks.packed);
  const detail::LeftRows left = copy_rows(sides.at(k), sides.n, sides.rows, size, blocks.plain);
  clear(sides.at(k), sides.n, sides.rows, size);
  detail::multiply_blocks(left, blocks.packed, size, sides.rows, size, 1, {sides.at(k), sides.n});
}

/// U' y = b, then U x = y, for at most kDenseBlock sides. Both read rows of the matrix: U's, and its mirrored ones.
void substitute(const Matrix& m, const Sides& sides) {
  Blocks blocks;
  for (int64_t k = 0; k < m.n; k += kDenseBlock) {
    solve_diagonal(m, sides, k, false, blocks);
    const detail::LeftRows left = copy_rows(sides.at(k), sides.n, sides.rows, m.size_of(k), blocks.plain);
    for (int64_t j = k + kDenseBlock; j < m.n; j += kDenseBlock) {
      detail::pack_block(m.at(k, j), m.n, kDenseBlock, m.size_of(j), blocks.packed);
      detail::multiply_blocks(left, blocks.packed, kDenseBlock, sides.rows, m.size_of(j), -1, {sides.at(j), sides.n});
    }
  }
  for (int64_t k = (m.n - 1) / kDenseBlock * kDenseBlock; k >= 0; k -= kDenseBlock) {
    solve_diagonal(m, sides, k, true, blocks);
    const detail::LeftRows left = copy_rows(sides.at(k), sides.n, sides.rows, m.size_of(k), blocks.plain);
    for (int64_t i = 0; i < k; i += kDenseBlock) {
      detail::pack_block(m.at(k, i), m.n, m.size_of(k), kDenseBlock, blocks.packed);
      detail::multiply_blocks(left, blocks.packed, m.size_of(k), sides.rows, kDenseBlock, -1, {sides.at(i), sides.n});
    }
  }
}

/// Rows of block (i, k) of the upper triangular V; of a diagonal block with zeros below its diagonal.
detail::LeftRows rows_of(const Matrix& m, int64_t i, int64_t k, double* plain) {
  if (i != k) return copy_rows(m.at(i, k), m.n, m.size_of(i), m.size_of(k), plain);
  const int64_t size = m.size_of(i);
  for (int64_t r = 0; r < size; ++r) {
    std::fill_n(plain + r * kDenseBlock, r, 0.0);
    std::copy_n(m.at(i + r, k + r), size - r, plain + r * kDenseBlock + r);
  }
  return {plain, kDenseBlock};
}

/// Block (k, j) of U, k < j, read from its mirror: the block itself may be V's already.
void pack_mirrored(const Matrix& m, int64_t k, int64_t j, Blocks& blocks, double* packed) {
  for (int64_t c = 0; c < m.size_of(j); ++c)
    for (int64_t r = 0; r < kDenseBlock; ++r) blocks.plain[r * kDenseBlock + c] = *m.at(j + c, k + r);
  detail::pack_block(blocks.plain, kDenseBlock, kDenseBlock, m.size_of(j), packed);
}

/// Block (i, j) of V = U's inverse: minus the sum over k of V(i, k) U(k, j), times V(j, j).
void invert_block(const Matrix& m, int64_t i, int64_t j, Blocks& blocks, double* sum) {
  const int64_t columns = m.size_of(j);
  clear(sum, kDenseBlock, kDenseBlock, columns);
  for (int64_t k = i; k < j; k += kDenseBlock) {
    pack_mirrored(m, k, j, blocks, blocks.packed);
    detail::multiply_blocks(rows_of(m, i, k, blocks.plain), blocks.packed, kDenseBlock, kDenseBlock, columns, 1,
                            {sum, kDenseBlock});
  }
  unpack_inverse(m, j, false, blocks.plain);
  detail::pack_block(blocks.plain, kDenseBlock, columns, columns, blocks.packed);
  clear(m.at(i, j), m.n, kDenseBlock, columns);
  detail::multiply_blocks({sum, kDenseBlock}, blocks.packed, columns, kDenseBlock, columns, -1, {m.at(i, j), m.n});
}

/// U becomes V = its inverse, column of blocks by column of blocks.
void invert_factor(const Matrix& m, int threads) {
  for (int64_t j = 0; j < m.n; j += kDenseBlock) {
    run_tasks(j / kDenseBlock, threads, [&](int64_t task, int) {
      Blocks blocks, sum;
      invert_block(m, task * kDenseBlock, j, blocks, sum.plain);
    });
    Blocks blocks;
    unpack_inverse(m, j, false, blocks.plain);
    for (int64_t r = 0; r < m.size_of(j); ++r)
      std::copy_n(blocks.plain + r * kDenseBlock + r, m.size_of(j) - r, m.at(j + r, j + r));
  }
}

/// Block (k, j), k >= j, of V': as mirror() and keep_inverse_of_diagonal() left it in the lower half.
void pack_transposed(const Matrix& m, int64_t j, int64_t k, const std::vector<double>& diagonal, Blocks& blocks) {
  const int64_t depth = m.size_of(k), width = m.size_of(j);
  if (j != k) return detail::pack_block(m.at(k, j), m.n, depth, width, blocks.packed);
  for (int64_t d = 0; d < depth; ++d) {
    double* row = blocks.plain + d * kDenseBlock;
    std::copy_n(m.at(k + d, j), d, row);
    row[d] = diagonal[static_cast<size_t>(k + d)];
    std::fill_n(row + d + 1, width - d - 1, 0.0);
  }
  detail::pack_block(blocks.plain, kDenseBlock, depth, width, blocks.packed);
}

/// Row i of blocks of V V', upper half: block (i, j) is the sum over k >= j of V(i, k) V(j, k)'. From left to right, no block
/// is needed after it was replaced. V' is read from the lower half, and V's diagonal from its copy, so other rows may be
/// replaced.
void multiply_row_by_transpose(const Matrix& m, int64_t i, const std::vector<double>& diagonal) {
  Blocks blocks, sum;
  const int64_t rows = m.size_of(i);
  for (int64_t j = i; j < m.n; j += kDenseBlock) {
    const int64_t columns = m.size_of(j);
    clear(sum.plain, kDenseBlock, rows, columns);
    for (int64_t k = j; k < m.n; k += kDenseBlock) {
      pack_transposed(m, j, k, diagonal, blocks);
      detail::multiply_blocks(rows_of(m, i, k, blocks.plain), blocks.packed, m.size_of(k), rows, columns, 1,
                              {sum.plain, kDenseBlock});
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t first = i == j ? r : 0;
      std::copy_n(sum.plain + r * kDenseBlock + first, columns - first, m.at(i + r, j + first));
    }
  }
}

}  // namespace

bool solve_in_place(double* a, int64_t n, double* b, int64_t columns, int threads) {
  ELEK_CHECK(columns >= 0 && threads >= 1, "solve_in_place: " + std::to_string(columns) + " right-hand sides");
  const Matrix matrix{a, n};
  if (!factorise(matrix, threads)) return false;
  const int64_t rows = std::clamp<int64_t>((columns + threads - 1) / threads, 1, kDenseBlock);
  run_tasks((columns + rows - 1) / rows, threads, [&](int64_t task, int) {
    substitute(matrix, {b + task * rows * n, std::min(rows, columns - task * rows), n});
  });
  return true;
}

bool invert_in_place(double* a, int64_t n, int threads) {
  const Matrix matrix{a, n};
  if (!factorise(matrix, threads)) return false;
  invert_factor(matrix, threads);
  for (int64_t j = kDenseBlock; j < n; j += kDenseBlock)
    for (int64_t i = 0; i < j; i += kDenseBlock) mirror(matrix, i, j);
  std::vector<double> diagonal;
  for (int64_t i = 0; i < n; ++i) diagonal.push_back(*matrix.at(i, i));
  run_tasks((n + kDenseBlock - 1) / kDenseBlock, threads,
            [&](int64_t task, int) { multiply_row_by_transpose(matrix, task * kDenseBlock, diagonal); });
  return true;
}

}  // namespace elek
