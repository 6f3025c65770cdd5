// SPDX-License-Identifier: Apache-2.0
// The second moments of one convolution or linear layer, and the weights and bias that fit best. A = sum u u^T and B = sum u
// z^T over all positions of all samples. u: the im2col column of the layer's input, with a 1 appended for the bias; z: the
// wanted output. Samples are added batch by batch: memory is A, B and one chunk of columns, for any number of samples.
// Tests: tests/prune/moments_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "elek/memory.h"
#include "elek/types.h"
#include "elek/window.h"

namespace elek {

/// The layer to fit: it reads `input` and makes `outputs` channels. A linear layer is a 1x1 kernel.
struct FitShape {
  std::string name;  // for messages
  ImageShape input;  // channels as the layer reads them now
  int64_t outputs = 0;
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  Extent dilation = 1;
  int64_t groups = 1;
  bool bias = true;
  std::vector<int64_t> targets;  // [outputs]: the channel of z that each output must reproduce
  int64_t target_channels = 0;   // of z
  [[nodiscard]] ImageShape slid() const { return Window{kernel, stride, padding, dilation}.slide(input); }
  [[nodiscard]] int64_t output_height() const { return slid().height; }
  [[nodiscard]] int64_t output_width() const { return slid().width; }
  [[nodiscard]] int64_t columns() const { return input.channels / groups * kernel.area(); }  // weights of one output
  [[nodiscard]] int64_t unknowns() const { return columns() + (bias ? 1 : 0); }
  /// Multiply-adds per image for A (its upper half) and B.
  [[nodiscard]] double product_macs() const;
};

/// target = factor * (z - rest) + shift, for one output.
struct TargetScale {
  double factor = 1;
  double shift = 0;
};
/// The wanted outputs of a batch: z, or what is left of it beside values that are there already (`rest`).
struct FitTargets {
  std::span<const float> z;                      // [samples, target_channels, P, Q]
  std::span<const std::span<const float>> rest;  // each [samples, outputs, P, Q]; none: z itself is wanted
  std::span<const TargetScale> scales;           // [outputs]; not read if there is no rest
};

/// The ridge: added to A's diagonal, as a share of the mean diagonal over the weights; nothing is added for the bias.
inline constexpr double kRidge = 1e-3;

class FitMoments {
 public:
  /// Allocates everything it needs, for sparse rows too. OutOfMemory leaves nothing behind.
  FitMoments(FitShape shape, bool sparse, int threads, MemoryResource& resource);
  [[nodiscard]] static size_t bytes(const FitShape& shape, bool sparse, int threads);

  /// x [samples, C, H, W], z [samples, target_channels, P, Q], row-major. If the shape has no outputs and targets, only A is
  /// summed.
  void add(std::span<const float> x, std::span<const float> z, int64_t samples) { add(x, FitTargets{z, {}, {}}, samples); }
  void add(std::span<const float> x, const FitTargets& targets, int64_t samples);

  /// Fits weights [outputs, C/groups, R, S] and bias [outputs] (not written if the layer has none). On entry `weights` are the
  /// old ones: weights that are exactly zero stay zero, and such an output is solved on its other columns (a masked network
  /// stays masked). If all inputs are zero, the weights become zero and the bias the mean of z, with a warning. InputError
  /// naming the layer if a moment is NaN or infinite, nothing was added, or the system cannot be solved. Uses up the moments:
  /// call once.
  void solve(std::span<float> weights, std::span<float> bias, double ridge = kRidge);

  /// A of one convolution group, as summed so far: [unknowns, unknowns], only j >= i.
  [[nodiscard]] std::span<const double> second_moments(int64_t group) const;
  /// The same, to be overwritten by who needs no solve().
  [[nodiscard]] std::span<double> second_moments(int64_t group);
  /// B of one output, as summed so far: [unknowns].
  [[nodiscard]] std::span<const double> cross_moments(int64_t output) const;

 private:
  void fill_columns(const float* x, int64_t first_row, int64_t rows);
  void fill_targets(const FitTargets& targets, int64_t first_row, int64_t rows);
  void check_and_load_diagonal(double ridge);
  void solve_sparse_rows(std::span<float> weights, std::span<float> bias, std::vector<uint8_t>& done);
  void store(int64_t output, const double* solution, std::span<float> weights, std::span<float> bias) const;
  [[noreturn]] void fail(const std::string& what) const;
  [[nodiscard]] double* a(int64_t group) const;
  [[nodiscard]] double* b(int64_t output) const;

  FitShape shape_;
  int threads_ = 1;
  int64_t chunk_rows_ = 1;  // output rows in one chunk of columns
  int64_t samples_ = 0;
  Buffer moments_;  // A of each convolution group, then B
  Buffer chunk_;    // columns [groups * unknowns, positions], targets [outputs, positions], tiles
  Buffer sparse_;   // per thread: A and right-hand side for sparse rows
};

}  // namespace elek
