// SPDX-License-Identifier: Apache-2.0
// The dense linear algebra of the refit, and the only place that knows BLAS: f32 products added into f64 moments, tile by tile
// over our own threads, and Cholesky solves. OpenBLAS is held to one thread and called from several, so that its pool never
// competes with OpenMP's; each tile belongs to one task, so that results do not depend on the number of threads.
// Tests: tests/prune/moments_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace elek {

/// task(0) … task(count - 1), once each, in any order on up to `threads` threads (the caller's is one). `task` must not throw.
void run_tasks(int64_t count, int threads, const std::function<void(int64_t task, int thread)>& task);

/// Side of the square tiles that products are made in: scratch for add_products() is kTile * kTile floats a thread.
inline constexpr int64_t kTile = 128;

/// Products of rows with rows, added to a matrix in double: c[i*pitch + j] += sum over l of a[i*length + l] * b[j*length + l].
struct Products {
  const float* a = nullptr;  // [rows, length]
  const float* b = nullptr;  // [columns, length]
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t length = 0;
  double* c = nullptr;
  int64_t pitch = 0;
  bool symmetric = false;  // a is b: only tiles that touch j >= i are made
};
/// All of `jobs` over `threads` threads. A tile is a product in f32 (`length` terms) that is then added in f64. `scratch`:
/// threads * kTile * kTile floats.
void add_products(std::span<const Products> jobs, int threads, float* scratch);

/// Solves a x = b in place for symmetric positive definite `a` [n, n], of which a[i*n + j], j >= i, is read, and which becomes
/// its factor; `b` [columns, n], a right-hand side a row, becomes the solutions. False if `a` is not positive definite.
[[nodiscard]] bool solve_in_place(double* a, int64_t n, double* b, int64_t columns);

/// The inverse of symmetric positive definite `a` [n, n] in place: a[i*n + j], j >= i, is read and written. False if it is not.
[[nodiscard]] bool invert_in_place(double* a, int64_t n);

}  // namespace elek
