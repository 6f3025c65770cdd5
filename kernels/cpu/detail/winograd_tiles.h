// SPDX-License-Identifier: Apache-2.0
// For winograd.cpp and its steps only: which tiles a run has, in which order, and which transform points each tile uses. In
// this order the tiles that use a point are one range of numbers. So the product at a point is one matrix product over some
// rows of a block (docs/winograd.md).
// Tests: tests/kernels/winograd_test.cpp
#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/winograd.h"

namespace elek::kernels::cpu::detail {

/// A block of at most so many tiles needs no U: its weights are transformed in registers.
int64_t winograd_few_tiles();

constexpr int kGrid4 = 6, kGrid2 = 4;  // points of F(4) and F(2) in one dimension
// A block of tiles is a multiple of the micro-kernel's panel; larger blocks reuse each weight more often.
constexpr int64_t kMaxWholeTiles = 56;
// The same number of points in tiles of the smallest kind, and what a block may begin early.
constexpr int64_t kMaxBlockTiles = (kMaxWholeTiles * kGrid4 * kGrid4 + kGrid4 * kGrid4 - 1) / 16;

/// Where the nth of the `outputs` + 2 points of a 1-D tile lies in the grid. F(4)'s points are 0, a, -a, b, -b, infinity; its
/// edge tiles of three outputs leave out 0, those of two leave out b and -b. The points that stay are multiplied by the same
/// weights.
constexpr int grid_point(int grid, int outputs, int n) {
  if (grid == kGrid4 && outputs == 3) return n + 1;
  if (grid == kGrid4 && outputs == 2 && n == 3) return 5;
  return n;
}
constexpr bool uses_point(int grid, int outputs, int point) {
  for (int n = 0; n < outputs + 2; ++n)
    if (grid_point(grid, outputs, n) == point) return true;
  return false;
}

/// Tiles with the same transforms.
struct TileClass {
  int rows = 0, columns = 0;     // outputs of the transforms
  int64_t high = 0, wide = 0;    // tiles of a sample
  int64_t top = 0, left = 0;     // output position of a sample's first
  int64_t first = 0, count = 0;  // numbers in the run
  [[nodiscard]] int64_t points() const { return int64_t{rows + 2} * (columns + 2); }
};

/// A tile's sample, the top left of its output and the outputs of its transforms.
struct TilePlace {
  int64_t sample = 0, row = 0, column = 0;
  int rows = 0, columns = 0;
};

/// Rows [first, first + rows) of a block are the tiles that have a product at `point`.
struct PointRows {
  int64_t point = 0, first = 0, rows = 0;
};

/// Consecutive tiles of a run, transformed together.
struct TileBlock {
  int64_t tiles = 0;
  std::array<TilePlace, kMaxBlockTiles> places;
  std::array<PointRows, kGrid4 * kGrid4> points;  // the used ones
  int64_t used_points = 0;
  // Where row 0 of a point would lie in a plane of V and in M, in floats. Each point keeps only the rows that it has.
  // V: v_plane floats for each block of input channels of the layout; a row holds one block.
  std::array<int64_t, kGrid4 * kGrid4> v_at, m_at;
  int64_t v_plane = 0, m_floats = 0;
};

/// The tiles of a run of `samples` samples, numbered class by class: bottom, interior, right, corner (any may be empty), each
/// class sample by sample. A tile in the last row or column whose outputs would not fill it belongs to an edge class.
class RunTiles {
 public:
  RunTiles(const WinogradPlan& plan, int64_t samples);
  /// Blocks of about plan.block_points points.
  [[nodiscard]] int64_t blocks() const;
  [[nodiscard]] TileBlock block(int64_t b) const;
  /// Of all tiles together.
  [[nodiscard]] int64_t points() const;

 private:
  [[nodiscard]] int64_t tile_at_point(int64_t point) const;
  [[nodiscard]] TilePlace place_of(int64_t tile) const;

  int64_t tile_, block_points_, v_row_, m_row_;  // floats a row
  int grid_;
  std::array<TileClass, 4> classes_;
};

}  // namespace elek::kernels::cpu::detail
