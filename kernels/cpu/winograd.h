// SPDX-License-Identifier: Apache-2.0
// Winograd convolution: stride-1 3x3 convolutions on blocked activations, with bias, residual, ReLU, store and the per-channel
// sums in the epilogue, taken from registers. Lavin & Gray 2015 (arXiv 1509.09308); our points, blocking and bounds:
// docs/winograd.md.
//
// Three steps over blocks of tiles small enough that everything between them stays in the L2 cache: transform T input tiles to
// V, multiply V by the transformed weights U (one small product per transform point), transform the products M back.
// F(4x4) does 4 times fewer multiplications than the direct form and loses about one decimal digit; F(2x2) 2.25 times fewer.
// Where F(4x4)'s last tiles would stick out of the map, smaller tiles (3 or 2 outputs) use some of the same points.
// Every run transforms the weights to U again: narrow layers all at once, others a chunk at a time. U is never stored between
// runs, so memory is read for the weights alone, not for U, which is four times as large (docs/winograd.md has the cost).
//
// Must not know about graphs or sessions; allocates nothing; scratch and packed weights are the caller's.
// Tests: tests/kernels/winograd_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/result.h"
#include "elek/types.h"
#include "kernels/cpu/conv_args.h"

namespace elek::kernels::cpu {

enum class WinogradTile : uint8_t { k2x2 = 2, k4x4 = 4 };

/// What is convolved: x [samples, channels, height, width] -> y [samples, out_channels, height + 2*padding - 2, …].
struct WinogradProblem {
  int64_t samples = 0;  // at most; a run may hold fewer
  int64_t channels = 0;
  int64_t out_channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t padding = 1;  // 0 or 1
  Layout layout = Layout::kNChw16c;
  WinogradTile tile = WinogradTile::k4x4;
  int threads = 1;
};

/// How the work is cut: made once, used by every run.
struct WinogradPlan {
  WinogradProblem problem;
  int64_t out_height = 0;
  int64_t out_width = 0;
  int64_t tiles_high = 0;  // a sample
  int64_t tiles_wide = 0;
  int edge_rows = 0;         // outputs of the transform of the last row of tiles: the tile's, or 3 or 2
  int edge_columns = 0;      // and of the last column
  int64_t block_points = 0;  // points of the tiles transformed together, of all of them
  // True: threads split the output channels, and each makes V of all tiles, or all share one V. False: they split the blocks.
  bool split_channels = false;
  bool shared_v = false;
  int64_t points = 0;         // 36 or 16
  int64_t m_tile_stride = 0;  // floats between two tiles of M at one point
  int64_t v_floats = 0;       // of one block
  int64_t m_floats = 0;
  int64_t out_vectors = 0;  // of output channels
  int64_t groups = 0;       // of two of them, or one
  // True: each thread makes all of U once a run. False: it makes U as it needs it, two rows of points of a chunk at a time.
  bool whole_u = false;
  int64_t chunk_channels = 0;  // input channels
  int64_t u_stride = 0;        // floats between two points of U
  int64_t u_floats = 0;        // of a thread: all, or two rows of points of a chunk; 0: few tiles, transformed in registers
  int64_t products = 0;        // points of a sample's tiles: channels * out_channels multiply-adds each
  size_t packed_bytes = 0;
  size_t scratch_bytes = 0;  // U, V and M of all threads
};

/// No, with the reason, for a layout whose block is not a whole number of this machine's vectors, or sizes out of range.
[[nodiscard]] Result<WinogradPlan> plan_winograd(const WinogradProblem& problem);

/// The weights as they are, put in the order in which winograd_conv transforms them: as many bytes, but for padding.
/// Shapes    weights: [K, C, 3, 3] dense f32 · packed: plan.packed_bytes, aligned to 64
/// Memory    writes all of packed; padding channels are zero
void pack_winograd_weights(const WinogradPlan& plan, const float* weights, float* packed);

/// y = act(conv3x3(x, w) + bias [+ residual]) and the sums (conv_args.h).
/// Numerics  |error| <= bound of docs/winograd.md; fixed order for a fixed number of threads: same input, same bits
void winograd_conv(const WinogradPlan& plan, const ConvArgs& args);

}  // namespace elek::kernels::cpu
