// SPDX-License-Identifier: Apache-2.0
// The two loops under prune/least_squares.h that cost time, one version per instruction set. Internal to prune/.
// Tests: tests/prune/least_squares_test.cpp
#pragma once

#include <cstdint>

namespace elek::detail {

/// c[i * pitch + j] = sum over l of a[i * length + l] * b[j * length + l], in f32. Rows of a and b are neighbours in memory.
void multiply_rows(const float* a, const float* b, int64_t rows, int64_t columns, int64_t length, float* c, int64_t pitch);

/// Side of the blocks that the factorisation works on. Three blocks of doubles fit in an L2 cache of 256 KB.
inline constexpr int64_t kDenseBlock = 96;

/// A block [depth, width] in the order in which multiply_blocks() reads its right factor: groups of columns, each
/// [depth][columns of the group]; the last group is filled up with zeros.
inline constexpr int64_t kMostGroup = 16;
inline constexpr int64_t kPackedDoubles = kDenseBlock * (kDenseBlock + kMostGroup);

/// Packs a block whose row d begins at from[d * pitch].
void pack_block(const double* from, int64_t pitch, int64_t depth, int64_t width, double* packed);

/// The left factor: row i begins at data[i * pitch].
struct LeftRows {
  const double* data;
  int64_t pitch;
};

/// Where products are added: c[i * pitch + j]; if `upper`, only where j >= i.
struct Target {
  double* c;
  int64_t pitch;
  bool upper = false;
};

/// to[i][j] += sign * sum over d < depth of left[i][d] * right[d][j], for i < rows, j < columns.
void multiply_blocks(const LeftRows& left, const double* right, int64_t depth, int64_t rows, int64_t columns, double sign,
                     const Target& to);

}  // namespace elek::detail
