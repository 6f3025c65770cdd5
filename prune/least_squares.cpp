// SPDX-License-Identifier: Apache-2.0
// Tasks on our threads, and products in tiles. The solves are in cholesky.cpp. Tests: tests/prune/least_squares_test.cpp
#include "prune/least_squares.h"

#include <algorithm>
#include <atomic>

#include "core/threads.h"
#include "prune/dense.h"

namespace elek {
namespace {

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
  detail::multiply_rows(job.a + tile.row * job.length, job.b + tile.column * job.length, rows, columns, job.length, scratch,
                        kTile);
  for (int64_t i = 0; i < rows; ++i) {
    double* to = job.c + (tile.row + i) * job.pitch + tile.column;
    const float* from = scratch + i * kTile;
    for (int64_t j = 0; j < columns; ++j) to[j] += static_cast<double>(from[j]);
  }
}

}  // namespace

void run_tasks(int64_t count, int threads, const std::function<void(int64_t, int)>& task) {
  if (count <= 0) return;
  std::atomic<int64_t> next{0};
  for_parts(static_cast<int>(std::clamp<int64_t>(threads, 1, count)), [&](int part) {
    for (int64_t i = next++; i < count; i = next++) task(i, part);
  });
}

void add_products(std::span<const Products> jobs, int threads, float* scratch) {
  const std::vector<Tile> tiles = tiles_of(jobs);
  run_tasks(std::ssize(tiles), threads,
            [&](int64_t i, int thread) { add_tile(tiles[static_cast<size_t>(i)], scratch + thread * kTile * kTile); });
}

}  // namespace elek
