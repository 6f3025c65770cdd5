// SPDX-License-Identifier: Apache-2.0
// Plans Winograd convolutions and packs their weights. Plain code without vectors; the kernels are in winograd_simd.cpp.
#include "kernels/cpu/winograd.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/winograd_tiles.h"
#include "kernels/cpu/vectors.h"

namespace elek::kernels::cpu {
namespace {

constexpr int64_t kLineFloats = 16;
// Largest size of V and M of one thread: most of a 1 MiB L2 cache. Weights and activations stream through the rest.
constexpr int64_t kCacheFloats = 1'200'000 / 4;
// From kManyChannels on, the weights exceed the cache, and transforming them costs a tenth of a layer or more. Then blocks are
// as large as allowed, even if V exceeds the cache. If there are also fewer than kManyTiles tiles per thread, threads split the
// output channels, so that each weight is transformed by one thread only.
constexpr int64_t kManyChannels = 256, kManyTiles = 64;
// Input channels per chunk: their weights are transformed together. Two rows of points of F(4x4) take 192 KiB, the weights 144
// KiB. Each chunk reads and writes M once.
constexpr int64_t kChunkChannels = 128;
// The same if weights are transformed in registers. Each row of points transforms them again, so they should stay in the L1
// cache: 18 KiB.
constexpr int64_t kChunkInRegisters = 32;
// The whole of U is computed at once if it fits the L2 cache (kMostWholeU) and each thread has more than kBlocksWithoutU blocks
// of tiles. Without it, each of these blocks computes U again.
constexpr int64_t kMostWholeU = (int64_t{1} << 20) / 4;
constexpr int64_t kBlocksWithoutU = 2;
// If threads split the output channels, each thread computes its own V, up to this size. So every thread repeats the transform,
// which costs 3 to 5 % of a layer. Sharing V costs more: reading a cache line that another core has just written takes 9 ns, or
// 43 ns if the two cores share no cache, as on many rented machines (docs/winograd.md).
constexpr int64_t kMostOwnV = 2'000'000 / 4;

int64_t round_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

/// The size of a block, in points: as many whole tiles as fit in the cache, at most `most_tiles`. Then balanced, so that the
/// last block is not nearly empty.
int64_t choose_block(const WinogradPlan& plan, int64_t padded_channels, int64_t out_lanes, int64_t most_tiles) {
  const int64_t per_tile = plan.points * (padded_channels + out_lanes);
  const int64_t panel = panel_rows();
  int64_t most = std::clamp(kCacheFloats / per_tile / panel * panel, panel, detail::kMaxWholeTiles);
  if (plan.split_channels || plan.problem.channels >= kManyChannels) most = detail::kMaxWholeTiles;
  most = std::min(most, most_tiles);
  const int64_t sharers = plan.split_channels ? 1 : plan.problem.threads;
  const int64_t points = plan.problem.samples * plan.products;
  const int64_t blocks = round_up(ceil_div(points, most * plan.points), sharers);
  return round_up(ceil_div(points, blocks), plan.points);
}

/// Floats for the rows of one point: whole cache lines, plus one line, so that the distance between points is not a power of
/// two.
int64_t point_floats(int64_t rows, int64_t stride) { return round_up(rows * stride, kLineFloats) + kLineFloats; }

/// Outputs of the last tile in one dimension. If a whole tile of F(4) would reach beyond the map: 3 or 2.
int edge_outputs(WinogradTile tile, int64_t size) {
  const auto m = static_cast<int>(tile);
  const auto rest = static_cast<int>(size % m);
  return tile == WinogradTile::k2x2 || rest == 0 ? m : std::max(rest, 2);
}

}  // namespace

namespace detail {

RunTiles::RunTiles(const WinogradPlan& plan, int64_t samples)
    : tile_(static_cast<int64_t>(plan.problem.tile)),
      block_points_(plan.block_points),
      v_row_(channel_block(plan.problem.layout)),
      m_row_(plan.m_tile_stride),
      grid_(plan.problem.tile == WinogradTile::k4x4 ? kGrid4 : kGrid2) {
  const auto m = static_cast<int>(tile_);
  const int64_t low = plan.edge_rows < m ? 1 : 0, side = plan.edge_columns < m ? 1 : 0;
  const int64_t high = plan.tiles_high - low, wide = plan.tiles_wide - side;
  classes_ = {
      {{.rows = plan.edge_rows, .columns = m, .high = low, .wide = wide, .top = high * m},
       {.rows = m, .columns = m, .high = high, .wide = wide},
       {.rows = m, .columns = plan.edge_columns, .high = high, .wide = side, .left = wide * m},
       {.rows = plan.edge_rows, .columns = plan.edge_columns, .high = low, .wide = side, .top = high * m, .left = wide * m}}};
  int64_t next = 0;
  for (TileClass& c : classes_) {
    c.first = next;
    c.count = samples * c.high * c.wide;
    next += c.count;
  }
}

int64_t RunTiles::points() const {
  int64_t sum = 0;
  for (const TileClass& c : classes_) sum += c.count * c.points();
  return sum;
}

int64_t RunTiles::blocks() const { return ceil_div(points(), block_points_); }

/// Counts points tile after tile and returns the tile that contains this one. Past the last point: the number of tiles.
int64_t RunTiles::tile_at_point(int64_t point) const {
  int64_t tiles = 0;
  for (const TileClass& c : classes_) {
    if (point < c.count * c.points()) return tiles + point / c.points();
    point -= c.count * c.points();
    tiles += c.count;
  }
  return tiles;
}

TilePlace RunTiles::place_of(int64_t tile) const {
  size_t i = 0;
  while (tile >= classes_[i].first + classes_[i].count) ++i;
  const TileClass& c = classes_[i];
  const int64_t of_class = tile - c.first, of_sample = of_class % (c.high * c.wide);
  return {of_class / (c.high * c.wide), c.top + of_sample / c.wide * tile_, c.left + of_sample % c.wide * tile_, c.rows,
          c.columns};
}

TileBlock RunTiles::block(int64_t b) const {
  const int64_t first = tile_at_point(b * block_points_), last = tile_at_point((b + 1) * block_points_);
  TileBlock block;
  block.tiles = last - first;
  for (int64_t t = 0; t < block.tiles; ++t) block.places[static_cast<size_t>(t)] = place_of(first + t);
  for (int i = 0; i < grid_; ++i)
    for (int j = 0; j < grid_; ++j) {
      int64_t from = last, to = first;
      for (const TileClass& c : classes_) {
        if (c.count == 0 || !uses_point(grid_, c.rows, i) || !uses_point(grid_, c.columns, j)) continue;
        from = std::min(from, std::max(first, c.first));
        to = std::max(to, std::min(last, c.first + c.count));
      }
      if (from >= to) continue;
      const PointRows at{int64_t{i} * grid_ + j, from - first, to - from};
      block.points[static_cast<size_t>(block.used_points++)] = at;
      block.v_at[static_cast<size_t>(at.point)] = block.v_plane - at.first * v_row_;
      block.m_at[static_cast<size_t>(at.point)] = block.m_floats - at.first * m_row_;
      block.v_plane += point_floats(at.rows, v_row_);
      block.m_floats += point_floats(at.rows, m_row_);
    }
  return block;
}

}  // namespace detail

namespace {

/// A plan whose blocks have at most `most_tiles` whole tiles.
Result<WinogradPlan> plan_blocks(const WinogradProblem& problem, int64_t most_tiles) {
  const int64_t block = channel_block(problem.layout);
  if (block < 8) return No{"winograd wants a blocked layout, got " + std::string(name_of(problem.layout))};
  if (problem.padding != 0 && problem.padding != 1)
    return No{"padding " + std::to_string(problem.padding) + " is neither 0 nor 1"};
  WinogradPlan plan;
  plan.problem = problem;
  plan.out_height = problem.height + 2 * problem.padding - 2;
  plan.out_width = problem.width + 2 * problem.padding - 2;
  if (plan.out_height < 1 || plan.out_width < 1) return No{"image smaller than the kernel"};
  ELEK_CHECK(problem.samples > 0 && problem.channels > 0 && problem.out_channels > 0 && problem.threads > 0,
             "winograd: samples, channels and threads must be positive");
  const auto m = static_cast<int64_t>(problem.tile);
  plan.tiles_high = ceil_div(plan.out_height, m);
  plan.tiles_wide = ceil_div(plan.out_width, m);
  plan.points = (m + 2) * (m + 2);
  plan.edge_rows = edge_outputs(problem.tile, plan.out_height);
  plan.edge_columns = edge_outputs(problem.tile, plan.out_width);
  plan.products = detail::RunTiles(plan, 1).points();
  const int64_t lanes = vector_lanes(block);
  const int64_t out_lanes = 2 * lanes;
  const int64_t padded = padded_channels(problem.layout, problem.channels);
  const int64_t total = problem.samples * plan.tiles_high * plan.tiles_wide;
  plan.out_vectors = padded_channels(problem.layout, problem.out_channels) / lanes;
  const int64_t groups = ceil_div(plan.out_vectors, 2);
  const int64_t panel = panel_rows();
  // With few tiles, or weights that exceed the cache, each thread takes a part of the output channels, so that each weight is
  // transformed by one thread only. Otherwise each thread takes tiles, and its inputs are often still in its cache.
  const int64_t few_tiles = problem.channels >= kManyChannels ? kManyTiles : panel;
  plan.split_channels = problem.threads > 1 && groups >= problem.threads && total < few_tiles * problem.threads;
  plan.block_points = choose_block(plan, padded, out_lanes, most_tiles);
  plan.m_tile_stride = out_lanes;
  // Block b begins at the tile that contains point b * block_points. If tiles differ, it may therefore have more points than
  // block_points: at most the points of one tile, less one. The padding of one point is less than two cache lines, in M and in
  // each plane of V, where a row is one line or half a line.
  const bool differ = plan.edge_rows < m || plan.edge_columns < m;
  const int64_t rows = plan.block_points + (differ ? plan.points - 1 : 0);
  plan.v_floats = (round_up(rows * block, kLineFloats) + plan.points * (2 * kLineFloats - block)) * (padded / block);
  plan.m_floats = round_up(rows * plan.m_tile_stride, kLineFloats) + plan.points * 2 * kLineFloats;
  plan.groups = groups;
  const bool no_u = total <= detail::winograd_few_tiles();
  const int64_t blocks = ceil_div(problem.samples * plan.products, plan.block_points);
  const bool any_scratch = problem.most_scratch_bytes == SIZE_MAX;
  plan.whole_u = any_scratch && !no_u && !plan.split_channels && blocks > kBlocksWithoutU * problem.threads &&
                 groups * plan.points * problem.channels * out_lanes <= kMostWholeU;
  plan.chunk_channels = plan.whole_u ? problem.channels : std::min(no_u ? kChunkInRegisters : kChunkChannels, problem.channels);
  plan.u_stride = plan.chunk_channels * out_lanes + (plan.whole_u ? 0 : kLineFloats);
  plan.u_floats = no_u ? 0 : (plan.whole_u ? groups * plan.points : 2 * (m + 2)) * plan.u_stride;
  plan.shared_v = plan.split_channels && plan.v_floats > kMostOwnV;
  const int64_t own = plan.m_floats + plan.u_floats + (plan.shared_v ? 0 : plan.v_floats);
  plan.scratch_bytes = static_cast<size_t>((plan.shared_v ? plan.v_floats : 0) + problem.threads * own) * sizeof(float);
  plan.packed_bytes = static_cast<size_t>(groups * 9 * problem.channels * out_lanes) * sizeof(float);
  return plan;
}

}  // namespace

Result<WinogradPlan> plan_winograd(const WinogradProblem& problem) {
  const int64_t panel = panel_rows();
  for (int64_t tiles = detail::kMaxWholeTiles;; tiles -= panel) {
    auto plan = plan_blocks(problem, std::max(tiles, panel));
    if (!plan || tiles <= panel || plan.value().scratch_bytes <= problem.most_scratch_bytes) return plan;
  }
}

void pack_winograd_weights(const WinogradPlan& plan, const float* weights, float* packed) {
  const WinogradProblem& p = plan.problem;
  const int64_t out_lanes = 2 * vector_lanes(channel_block(p.layout));
  const int64_t groups = ceil_div(padded_channels(p.layout, p.out_channels), out_lanes);
  for_ranges(groups, p.threads, [&](int64_t group) {
    for (int64_t c = 0; c < p.channels; ++c)
      for (int64_t tap = 0; tap < 9; ++tap)
        for (int64_t lane = 0; lane < out_lanes; ++lane) {
          const int64_t k = group * out_lanes + lane;
          packed[((group * p.channels + c) * 9 + tap) * out_lanes + lane] =
              k < p.out_channels ? weights[(k * p.channels + c) * 9 + tap] : 0.0F;
        }
  });
}

}  // namespace elek::kernels::cpu
