// SPDX-License-Identifier: Apache-2.0
// Products in tiles, and Cholesky solves on OpenBLAS. LAPACK's three routines are declared here with Fortran's calling
// convention (lengths of character arguments last), because Debian's OpenBLAS has the routines but no header for them.
// Tests: tests/prune/moments_test.cpp
#include "prune/least_squares.h"

#include <cblas.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <thread>

#include "core/error.h"

extern "C" {
void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info, size_t uplo_length);
void dpotrs_(const char* uplo, const int* n, const int* nrhs, const double* a, const int* lda, double* b, const int* ldb,
             int* info, size_t uplo_length);
void dpotri_(const char* uplo, const int* n, double* a, const int* lda, int* info, size_t uplo_length);
}

namespace elek {
namespace {

/// Sets OpenBLAS to one thread per call, for the rest of the process.
void one_thread_a_call() {
  static const bool set = (openblas_set_num_threads(1), true);
  (void)set;
}

/// One tile of a job: (row, column) of its first element.
struct Tile {
  const Products* job = nullptr;
  int64_t row = 0;
  int64_t column = 0;
};

std::vector<Tile> tiles_of(std::span<const Products> jobs) {
  std::vector<Tile> tiles;
  for (const Products& job : jobs) {
    for (int64_t row = 0; row < job.rows; row += kTile) {
      for (int64_t column = job.symmetric ? row : 0; column < job.columns; column += kTile)
        tiles.push_back({&job, row, column});
    }
  }
  return tiles;
}

void add_tile(const Tile& tile, float* scratch) {
  const Products& job = *tile.job;
  const int64_t rows = std::min(kTile, job.rows - tile.row);
  const int64_t columns = std::min(kTile, job.columns - tile.column);
  const auto length = static_cast<int>(job.length);
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<int>(rows), static_cast<int>(columns), length, 1.0F,
              job.a + tile.row * job.length, length, job.b + tile.column * job.length, length, 0.0F, scratch,
              static_cast<int>(kTile));
  for (int64_t i = 0; i < rows; ++i) {
    double* to = job.c + (tile.row + i) * job.pitch + tile.column;
    const float* from = scratch + i * kTile;
    for (int64_t j = 0; j < columns; ++j) to[j] += static_cast<double>(from[j]);
  }
}

/// Cholesky factor in place; false if `a` is not positive definite.
bool factorise(double* a, int64_t n) {
  one_thread_a_call();
  ELEK_CHECK(n > 0 && n <= std::numeric_limits<int>::max(), "a system of " + std::to_string(n) + " unknowns");
  const int size = static_cast<int>(n);
  int info = 0;
  dpotrf_("L", &size, a, &size, &info, 1);  // row-major j >= i is column-major "lower"
  ELEK_CHECK(info >= 0, "dpotrf: argument " + std::to_string(-info) + " is wrong");
  return info == 0;
}

}  // namespace

void run_tasks(int64_t count, int threads, const std::function<void(int64_t, int)>& task) {
  std::atomic<int64_t> next{0};
  const auto work = [&](int thread) {
    for (int64_t i = next++; i < count; i = next++) task(i, thread);
  };
  std::vector<std::jthread> others;  // joined at the end of the scope
  for (int thread = 1; thread < std::min<int64_t>(threads, count); ++thread) others.emplace_back(work, thread);
  work(0);
}

void add_products(std::span<const Products> jobs, int threads, float* scratch) {
  one_thread_a_call();
  const std::vector<Tile> tiles = tiles_of(jobs);
  run_tasks(std::ssize(tiles), threads,
            [&](int64_t i, int thread) { add_tile(tiles[static_cast<size_t>(i)], scratch + thread * kTile * kTile); });
}

bool solve_in_place(double* a, int64_t n, double* b, int64_t columns) {
  ELEK_CHECK(columns >= 0 && columns <= std::numeric_limits<int>::max(),
             "solve_in_place: " + std::to_string(columns) + " right-hand sides");
  const auto size = static_cast<int>(n), sides = static_cast<int>(columns);
  if (!factorise(a, n)) return false;
  if (sides == 0) return true;
  int info = 0;
  dpotrs_("L", &size, &sides, a, &size, b, &size, &info, 1);
  ELEK_CHECK(info == 0, "dpotrs: argument " + std::to_string(-info) + " is wrong");
  return true;
}

bool invert_in_place(double* a, int64_t n) {
  if (!factorise(a, n)) return false;
  const int size = static_cast<int>(n);
  int info = 0;
  dpotri_("L", &size, a, &size, &info, 1);
  ELEK_CHECK(info >= 0, "dpotri: argument " + std::to_string(-info) + " is wrong");
  return info == 0;
}

}  // namespace elek
