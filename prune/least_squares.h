// SPDX-License-Identifier: Apache-2.0
// The dense linear algebra of the refit: f32 products added to f64 moments, tile by tile, and Cholesky solves. Each tile
// belongs to one task, so results do not depend on the number of threads. Tests: tests/prune/least_squares_test.cpp,
// tests/prune/moments_test.cpp
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace elek {

/// Calls task(0, thread) … task(count - 1, thread) once each, in any order, on up to `threads` threads. Two calls with the same
/// `thread` never run at the same time. `task` must not throw.
void run_tasks(int64_t count, int threads, const std::function<void(int64_t task, int thread)>& task);

/// Side of the square tiles of products. add_products() needs kTile * kTile floats of scratch per thread.
inline constexpr int64_t kTile = 128;

/// Products of rows with rows, added to a matrix of doubles: c[i*pitch + j] += sum over l of a[i*length + l] * b[j*length + l].
struct Products {
  const float* a = nullptr;  // [rows, length]
  const float* b = nullptr;  // [columns, length]
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t length = 0;
  double* c = nullptr;
  int64_t pitch = 0;
  bool symmetric = false;  // a is b: only tiles that touch j >= i are computed
};
/// Runs all `jobs` on `threads` threads. A tile is summed in f32 (`length` terms), then added in f64. `scratch`: threads *
/// kTile * kTile floats.
void add_products(std::span<const Products> jobs, int threads, float* scratch);

/// Solves a x = b in place for symmetric positive definite `a` [n, n]. Only a[i*n + j], j >= i, is read; all of `a` is
/// overwritten; afterwards a[i*n + j], j >= i, is the factor U of a = U' U. `b` [columns, n] holds one right-hand side per row;
/// the solutions replace them. False if `a` is not positive definite; then `b` is unchanged.
[[nodiscard]] bool solve_in_place(double* a, int64_t n, double* b, int64_t columns, int threads);

/// Inverts symmetric positive definite `a` [n, n] in place. Only a[i*n + j], j >= i, is read, and holds the inverse; the rest
/// is overwritten. False if `a` is not positive definite.
[[nodiscard]] bool invert_in_place(double* a, int64_t n, int threads);

}  // namespace elek
