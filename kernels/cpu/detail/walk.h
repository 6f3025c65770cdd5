// SPDX-License-Identifier: Apache-2.0
// Goes through an activation of any layout in memory order, in pieces whose rows have at most 16 lanes. So one inner loop
// serves all layouts. In nChw16c, nChw8c and NHWC a row is one position and its lanes are channels. In NCHW a row is 16
// positions of one channel, and `tail` counts the positions left over.
// Tests: those of the kernels
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "core/error.h"
#include "elek/types.h"

namespace elek::kernels::cpu {

inline constexpr int kLanes = 16;

/// A run of positions of one task. A task is one channel block (NCHW: one channel) of one sample.
struct Piece {
  int64_t sample = 0;
  int64_t channel = 0;  // channel of lane 0
  int valid = 0;        // lanes that are channels; the others are padding (<= 0: all padding)
  bool one_channel = false;
  int64_t offset = 0;  // element of row 0, lane 0
  int64_t rows = 0;
  int64_t row_stride = 0;
  int width = 0;  // lanes per row
  int tail = 0;   // elements after the last row (one_channel only)
};

/// The sizes of an activation, in the same form for every layout. Tasks are numbered in memory order.
struct Geometry {
  int64_t samples, channels, positions;
  int64_t block;       // channels per task (lanes of its rows)
  int64_t blocks;      // tasks per sample
  int64_t row_stride;  // elements between positions
  bool planes;         // NCHW with more than one position
  bool interleaved;    // NHWC: the blocks of a sample lie side by side in one row
  int64_t sample_stride;
  int64_t pitch;

  template <typename T>
  explicit Geometry(const ActivationView<T>& v)
      : samples(v.samples), channels(v.shape.channels), positions(v.shape.positions()), planes(false), interleaved(false) {
    const bool rows_of_pixels = v.layout == Layout::kNhwc || (v.layout == Layout::kNchw && positions == 1);
    if (rows_of_pixels) {
      interleaved = true;
      pitch = v.layout == Layout::kNhwc ? v.channel_pitch : channels;
      block = kLanes;
      row_stride = pitch;
    } else if (v.layout == Layout::kNchw) {
      planes = true;
      pitch = channels;
      block = 1;
      row_stride = 1;
    } else {
      block = v.layout == Layout::kNChw16c ? 16 : 8;
      pitch = (channels + block - 1) / block * block;
      row_stride = block;
    }
    blocks = (pitch + block - 1) / block;
    sample_stride = pitch * positions;
  }
  [[nodiscard]] int64_t tasks() const noexcept { return samples * blocks; }
  [[nodiscard]] int64_t elements() const noexcept { return samples * sample_stride; }
  /// Lanes of block `b` in memory (the last block of an NHWC row may be narrower).
  [[nodiscard]] int width(int64_t b) const noexcept { return static_cast<int>(std::min(block, pitch - b * block)); }
  [[nodiscard]] int valid(int64_t b) const noexcept { return static_cast<int>(std::min(block, channels - b * block)); }
  /// Offset of position 0 of block b of sample n, in elements.
  [[nodiscard]] int64_t base(int64_t n, int64_t b) const noexcept {
    return n * sample_stride + (interleaved ? b * block : b * block * positions);
  }
  /// Offset of position 0 of a channel or padding lane, in elements.
  [[nodiscard]] int64_t channel_base(int64_t n, int64_t c) const noexcept { return base(n, c / block) + c % block; }
};

/// The pieces of positions [begin, end), which are numbered task * positions + position.
class PieceWalk {
 public:
  PieceWalk(const Geometry& geometry, int64_t begin, int64_t end) noexcept : g_(geometry), at_(begin), end_(end) {}
  bool next(Piece& piece) noexcept {
    if (at_ >= end_) return false;
    const int64_t task = at_ / g_.positions, from = at_ % g_.positions;
    const int64_t count = std::min(end_ - at_, g_.positions - from);
    const int64_t n = task / g_.blocks, b = task % g_.blocks;
    piece.sample = n;
    piece.channel = b * g_.block;
    piece.valid = g_.valid(b);
    piece.one_channel = g_.planes;
    piece.offset = g_.base(n, b) + from * g_.row_stride;
    if (g_.planes) {
      piece.rows = count / kLanes;
      piece.row_stride = kLanes;
      piece.width = kLanes;
      piece.tail = static_cast<int>(count % kLanes);
    } else {
      piece.rows = count;
      piece.row_stride = g_.row_stride;
      piece.width = g_.width(b);
      piece.tail = 0;
    }
    at_ += count;
    return true;
  }

 private:
  const Geometry& g_;
  int64_t at_, end_;
};

/// ContractError unless `v` has memory and its sizes are in range.
template <typename T>
void check_view(const ActivationView<T>& v, const char* op, const char* what) {
  ELEK_CHECK(v.data != nullptr, std::string(op) + ": " + what + " has no memory");
  ELEK_CHECK(v.samples >= 0 && v.shape.channels >= 1 && v.shape.height >= 1 && v.shape.width >= 1,
             std::string(op) + ": " + what + " has " + std::to_string(v.samples) + " samples of " + to_string(v.shape) +
                 ", expected every dimension >= 1");
  ELEK_CHECK(v.shape.positions() <= int64_t{1} << 30,  // lanes count positions of a piece in 32 bits
             std::string(op) + ": " + what + " has " + to_string(v.shape) + ", expected at most 2^30 positions a sample");
  ELEK_CHECK(v.layout != Layout::kNhwc || v.channel_pitch >= v.shape.channels,
             std::string(op) + ": " + what + " has channel_pitch " + std::to_string(v.channel_pitch) +
                 ", expected at least its " + std::to_string(v.shape.channels) + " channels");
}

/// ContractError unless a and b have the same shape and memory layout.
template <typename A, typename B>
void check_same(const ActivationView<A>& a, const ActivationView<B>& b, const char* op, const char* what) {
  ELEK_CHECK(a.samples == b.samples && a.shape == b.shape && a.layout == b.layout &&
                 (a.layout != Layout::kNhwc || a.channel_pitch == b.channel_pitch),
             std::string(op) + ": " + what + " is " + std::to_string(b.samples) + " x " + to_string(b.shape) + " " +
                 std::string(name_of(b.layout)) + ", expected " + std::to_string(a.samples) + " x " + to_string(a.shape) + " " +
                 std::string(name_of(a.layout)));
}

}  // namespace elek::kernels::cpu
