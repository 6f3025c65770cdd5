// SPDX-License-Identifier: Apache-2.0
// Only for winograd.cpp and the three steps: the tiles of a run, their order, and the transform points of each tile. In this
// order the tiles that use a point have consecutive numbers. So the product at a point is one matrix product over consecutive
// rows of a block (docs/winograd.md).
// Tests: tests/kernels/winograd_test.cpp
#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/winograd.h"

namespace elek::kernels::cpu::detail {

/// A block of at most this many tiles needs no U: its weights are transformed in registers.
int64_t winograd_few_tiles();

constexpr int kGrid4 = 6, kGrid2 = 4;  // points of F(4) and F(2) in one dimension
// Largest block, in whole tiles: a multiple of the micro-kernel's panel. Larger blocks reuse each weight more often.
constexpr int64_t kMaxWholeTiles = 56;
// Largest block if all its tiles are of the smallest kind (16 points), plus the points by which a block may begin early.
constexpr int64_t kMaxBlockTiles = (kMaxWholeTiles * kGrid4 * kGrid4 + kGrid4 * kGrid4 - 1) / 16;

/// The place in the grid of point n of a 1-D tile, which has `outputs` + 2 points. The points of F(4) are 0, a, -a, b, -b,
/// infinity. Edge tiles of three outputs leave out 0, those of two leave out b and -b. The other points use the same
/// transformed weights.
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
  int rows = 0, columns = 0;     // output rows and columns of each tile
  int64_t high = 0, wide = 0;    // number of tiles of one sample
  int64_t top = 0, left = 0;     // output position of the first tile of a sample
  int64_t first = 0, count = 0;  // numbers of these tiles in the run
  [[nodiscard]] int64_t points() const { return int64_t{rows + 2} * (columns + 2); }
};

/// A tile: its sample, the top left corner of its output, and its output rows and columns.
struct TilePlace {
  int64_t sample = 0, row = 0, column = 0;
  int rows = 0, columns = 0;
};

/// Rows [first, first + rows) of a block are the tiles that use `point`.
struct PointRows {
  int64_t point = 0, first = 0, rows = 0;
};

/// Consecutive tiles of a run, transformed together.
struct TileBlock {
  int64_t tiles = 0;
  std::array<TilePlace, kMaxBlockTiles> places;
  std::array<PointRows, kGrid4 * kGrid4> points;  // only the points that some tile uses
  int64_t used_points = 0;
  // Offset of row 0 of each point in a plane of V and in M, in floats. A point stores only its own rows, so row 0 may not
  // exist.
  // V: v_plane floats for each block of input channels of the layout; a row holds one block.
  std::array<int64_t, kGrid4 * kGrid4> v_at, m_at;
  int64_t v_plane = 0, m_floats = 0;
};

/// The tiles of a run of `samples` samples, numbered class by class: bottom, interior, right, corner (each may be empty);
/// inside a class, sample by sample. Tiles in the last row or column belong to an edge class if the map does not fill whole
/// tiles there.
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

  int64_t tile_, block_points_, v_row_, m_row_;  // v_row_, m_row_: floats per row
  int grid_;
  std::array<TileClass, 4> classes_;
};

}  // namespace elek::kernels::cpu::detail
