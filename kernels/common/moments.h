// SPDX-License-Identifier: Apache-2.0
// Re-estimation of batch norm: the arrays for the moments of a batch, and the computation of scale and shift from them, one
// channel at a time, the same on every device. kernels/{cpu,cuda}/batch_moments.h computes the moments.
// Tests: tests/kernels/batch_moments_test.cpp, tests/gpu/kernels/moments_test.cpp
#pragma once

#include <cmath>
#include <cstdint>

#include "core/host_device.h"

namespace elek::kernels {

/// Each [C]; null if not wanted.
struct MomentArrays {
  double* mean = nullptr;
  double* variance_biased = nullptr;    // divided by n = samples * positions; normalises the batch
  double* variance_unbiased = nullptr;  // divided by n - 1; PyTorch averages it into running_var (n = 1: 0)
};

/// scale[c] = gamma[c] / sqrt(variance[c] + eps), shift[c] = beta[c] - mean[c] * scale[c], in double, stored as f32. If
/// variance[c] is 0 (a constant channel, or one position), old_mean and old_variance are used instead. They are also written to
/// mean, variance and variance_unbiased, so that they are averaged.
struct Normalisation {
  int64_t channels = 0;
  double* mean = nullptr;                // [C] in, out
  double* variance = nullptr;            // [C] in (biased), out
  double* variance_unbiased = nullptr;   // [C] or null
  const double* old_mean = nullptr;      // [C]
  const double* old_variance = nullptr;  // [C]
  const float* gamma = nullptr;          // [C] or null = 1
  const float* beta = nullptr;           // [C] or null = 0
  double eps = 1e-5;
  float* scale = nullptr;            // [C] out
  float* shift = nullptr;            // [C] out
  double* mean_total = nullptr;      // [C] or null: += mean (after the replacement above), to average over batches
  double* variance_total = nullptr;  // [C] or null: += variance_unbiased (needs variance_unbiased)
};

/// ContractError: no channels, an array missing, eps < 0.
void check_normalisation(const Normalisation& n);

/// One channel. Returns whether it used the old moments.
ELEK_HOST_DEVICE inline bool normalise_channel(const Normalisation& n, int64_t c) {
  const bool constant = n.variance[c] == 0;
  if (constant) {
    n.mean[c] = n.old_mean[c];
    n.variance[c] = n.old_variance[c];
    if (n.variance_unbiased != nullptr) n.variance_unbiased[c] = n.old_variance[c];
  }
  const double gamma = n.gamma != nullptr ? static_cast<double>(n.gamma[c]) : 1.0;
  const double beta = n.beta != nullptr ? static_cast<double>(n.beta[c]) : 0.0;
  const double scale = gamma / sqrt(n.variance[c] + n.eps);
  n.scale[c] = static_cast<float>(scale);
  n.shift[c] = static_cast<float>(beta - n.mean[c] * scale);
  if (n.mean_total != nullptr) n.mean_total[c] += n.mean[c];
  if (n.variance_total != nullptr) n.variance_total[c] += n.variance_unbiased[c];
  return constant;
}

}  // namespace elek::kernels
