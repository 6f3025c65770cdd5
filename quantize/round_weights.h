// SPDX-License-Identifier: Apache-2.0
// Rounds the weights of one layer to integers times a scale per output channel.
// Tests: tests/quantize/round_weights_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "elek/memory.h"
#include "prune/moments.h"

namespace elek {

/// Largest magnitude of each row [K, columns] / 127; 1 for a row of zeros.
[[nodiscard]] std::vector<float> weight_scales(std::span<const float> weights, int64_t outputs);

/// Replaces each weight by the nearest integer multiple of its row's scale, -127 … 127.
void round_to_nearest(std::span<float> weights, std::span<const float> scales);

struct RoundedByMoments {
  std::vector<float> scales;
  double error = 0;          // squared error of the layer's output on the images, all outputs
  double error_nearest = 0;  // of the weights rounded to nearest, with the bias that then fits best
};

/// Fits weights and bias to the moments, starting from the given ones, then rounds the weights from the last column to the
/// first. Each rounding error is taken up by the columns that are not yet rounded, and the bias by what is left of the mean:
/// with A = U' U, the centre of column i is w_i + sum over j > i of U_ij / U_ii (w_j - q_j). Weights that are exactly zero stay
/// zero, and an output that has some is not fitted, only rounded: a masked network stays masked.
/// Shapes    weights: [outputs, columns], bias: [outputs]; the shape has a bias and one group
/// Memory    round_by_moments_bytes() of `resource`; the moments are overwritten
/// Errors    InputError naming the layer if a moment is NaN or infinite
[[nodiscard]] RoundedByMoments round_by_moments(FitMoments& moments, const FitShape& shape, int threads,
                                                MemoryResource& resource, std::span<float> weights, std::span<float> bias);
[[nodiscard]] size_t round_by_moments_bytes(const FitShape& shape);

}  // namespace elek
