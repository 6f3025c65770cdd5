// SPDX-License-Identifier: Apache-2.0
// Winograd convolution, for 3x3 with stride 1 on blocked activations. The epilogue does bias, residual, ReLU, store and the
// per-channel sums, all from registers. Lavin & Gray 2015 (arXiv 1509.09308). Our points, blocking and error bounds:
// docs/winograd.md.
//
// Three steps per block of tiles: transform the input tiles to V, multiply V by the transformed weights U (one small matrix
// product per transform point), transform the products M to outputs. Blocks are so small that V and M stay in the L2 cache,
// except in wide layers, where larger blocks pay off because each weight is read less often.
// F(4x4) does 4 times fewer multiplications than the direct form and loses about one decimal digit. F(2x2) does 2.25 times
// fewer. If the last tiles of F(4x4) would reach beyond the map, smaller tiles (3 or 2 outputs) replace them; they use some of
// the same points.
// The transformed weights U are computed again in every run and never stored between runs. So only the weights themselves are
// read from memory, a quarter of U's bytes. Narrow layers compute U at once, others in chunks of channels (docs/winograd.md
// shows the cost).
//
// Must not know about graphs or sessions. Allocates nothing: the caller owns scratch and packed weights.
// Tests: tests/kernels/winograd_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"
#include "elek/types.h"
#include "kernels/cpu/conv_args.h"

namespace elek::kernels::cpu {

enum class WinogradTile : uint8_t { k2x2 = 2, k4x4 = 4 };

/// x [samples, channels, height, width] -> y [samples, out_channels, height + 2*padding - 2, …].
struct WinogradProblem {
  int64_t samples = 0;  // largest number; a run may have fewer
  int64_t channels = 0;
  int64_t out_channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t padding = 1;  // 0 or 1
  Layout layout = Layout::kNChw16c;
  WinogradTile tile = WinogradTile::k4x4;
  int threads = 1;
  size_t most_scratch_bytes = SIZE_MAX;  // a wish: blocks become smaller, down to one panel of tiles, and U is not kept whole
};

/// How the work is divided. Made once, used by every run.
struct WinogradPlan {
  WinogradProblem problem;
  int64_t out_height = 0;
  int64_t out_width = 0;
  int64_t tiles_high = 0;  // per sample
  int64_t tiles_wide = 0;
  int edge_rows = 0;         // output rows of the last row of tiles: all, or 3 or 2
  int edge_columns = 0;      // output columns of the last column of tiles
  int64_t block_points = 0;  // points of a block: of tiles that are transformed together
  // If set, threads divide the output channels, and each thread computes V of all tiles; with shared_v they compute and share
  // one V. Otherwise threads divide the blocks of tiles.
  bool split_channels = false;
  bool shared_v = false;
  int64_t points = 0;         // 36 or 16
  int64_t m_tile_stride = 0;  // floats between neighbouring tiles of M at one point
  int64_t v_floats = 0;       // floats of V of one block
  int64_t m_floats = 0;
  int64_t out_vectors = 0;  // vectors of output channels
  int64_t groups = 0;       // groups of two such vectors; the last may have one
  // If set, each thread computes the whole of U once per run. Otherwise it computes U when needed: two rows of points of one
  // chunk.
  bool whole_u = false;
  int64_t chunk_channels = 0;  // input channels per chunk
  int64_t u_stride = 0;        // floats between two points of U
  int64_t u_floats = 0;        // size of U per thread; 0: so few tiles that weights are transformed in registers
  int64_t products = 0;        // points of all tiles of a sample; each takes channels * out_channels multiply-adds
  size_t packed_bytes = 0;
  size_t scratch_bytes = 0;  // U, V and M of all threads
};

/// Returns No with a reason if the layout is not blocked, the padding is not 0 or 1, or the image is smaller than the kernel.
[[nodiscard]] Result<WinogradPlan> plan_winograd(const WinogradProblem& problem);

/// Copies the weights into the order in which winograd_conv transforms them. Same size, plus padding.
/// Shapes    weights: [K, C, 3, 3] dense f32 · packed: plan.packed_bytes, aligned to 64
/// Memory    writes all of packed; padding channels are zero
void pack_winograd_weights(const WinogradPlan& plan, const float* weights, float* packed);

/// y = act(conv3x3(x, w) + bias [+ residual]) and the sums (conv_args.h).
/// Numerics  |error| <= bound of docs/winograd.md; same input and same number of threads: same bits
void winograd_conv(const WinogradPlan& plan, const ConvArgs& args);

}  // namespace elek::kernels::cpu
