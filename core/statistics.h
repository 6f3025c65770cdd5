// SPDX-License-Identifier: Apache-2.0
// Probes say which values to watch and what to sum; Statistics are the plain sums, keyed by the graph's value names. Their only
// operation is merge. Definitions: docs/statistics.md. Taken from values as stored; activations are never kept.
// Tests: tests/golden/statistics_test.cpp, tests/models/statistics_merge_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/sums.h"

namespace elek {

/// Which of a convolution's values is watched: the stored one, or the raw convolution as the seed hooked it (batch norm is then
/// kept apart; a value that no convolution makes is watched as stored).
enum class Tap : uint8_t { kRelu, kConv };

/// Moments of one batch_norm node's input, averaged over batches as PyTorch's train mode with momentum=None does: mean of the
/// batches' means, mean of their unbiased variances. A channel whose variance is zero in a batch counts with the model's own.
struct BatchMoments {
  std::string batch_norm;
  std::vector<double> mean, variance;  // [C]
  int64_t batches = 0;
};

/// What a session is asked to watch. Empty = nothing, which costs nothing.
struct Probes {
  std::map<std::string, uint32_t> values;  // value name -> Sums; a value that is stored (Tap::kConv: any name of its step)
  std::vector<std::string> tap_norms;      // conv or linear nodes whose input column norms are wanted (Wanda)
  float threshold = 0.0F;
  Tap tap = Tap::kRelu;
  [[nodiscard]] bool empty() const noexcept { return values.empty() && tap_norms.empty(); }
};

/// Sums of one value with C channels: a vector for each sum of core/sums.h (`sum`, `sum_sq`, `active`, …), [C], or empty where
/// its set was not asked for.
struct ValueSums {
  int64_t channels = 0;
  int64_t samples = 0;
  int64_t count = 0;      // samples * positions, NaN and infinity included
  int64_t nonfinite = 0;  // NaN and infinite values among them, all channels together
#define ELEK_VECTOR(name, set, type, combine) std::vector<type> name;
  ELEK_SUMS(ELEK_VECTOR)
#undef ELEK_VECTOR
};

/// norm_sq[(c*R + r)*S + s] = sum of x^2 over the inputs that tap (r, s) of input channel c really meets: the squared norm of
/// the im2col column, padding and stride included. Grouped convolutions: c counts all input channels. Linear: R = S = 1.
struct TapNorms {
  int64_t channels = 0;
  int64_t kernel = 1;
  int64_t samples = 0;
  std::vector<double> norm_sq;
};

struct Statistics {
  // What the sums are of; merge refuses to mix.
  uint64_t model_hash = 0;
  Tap tap = Tap::kRelu;
  float threshold = 0.0F;
  std::string precision = "f32";
  std::string kernels;  // choice of kernels that took them: other choices agree but for rounding
  std::string data;     // what the samples were, in the words of whoever took them; a merge lists all
  int64_t samples = 0;
  std::map<std::string, ValueSums> values;
  std::map<std::string, TapNorms> tap_norms;

  /// Adds `other`'s sums and takes maxima. InputError naming the difference if model, tap, threshold, precision or the watched
  /// values differ; this object is then unchanged.
  void merge(const Statistics& other);
};

}  // namespace elek
