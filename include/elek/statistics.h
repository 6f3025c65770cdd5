// SPDX-License-Identifier: Apache-2.0
// Statistics: what a session sums per channel while it runs. Probes say which values to watch and what to sum. Statistics are
// plain sums, keyed by the names of the graph's values; the only operation is merge(). Sums are taken from values as stored; no
// activation is kept. ELEK_SUMS is the only list of sums: fields, memory layout, merging and files follow from it.
// Definitions and accuracy: docs/statistics.md.
// Tests: tests/unit/sums_test.cpp, tests/golden/statistics_test.cpp, tests/models/statistics_merge_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "elek/export.h"
#include "elek/window.h"

namespace elek {

/// Sets of sums, combined with |. y = the stored value, z = the pre-activation (conv + bias, batch norm folded in).
enum Sums : uint32_t {
  kActivity = 1,
  kMoments = 2,
  kAbsolute = 4,
  kRange = 8,
  kPerSample = 16,
};
/// Every set; for functions that can be restricted to some sets.
inline constexpr uint32_t kAllSums = ~uint32_t{0};

/// How two partial results of one sum are combined. NaN wins every maximum. A maximum starts at -infinity.
enum class Combine : uint8_t { kAdd, kMax };

/// X(name, set, element type, Combine) for every sum, in the order of memory and files.
/// m_n = the spatial mean of y of sample n.
#define ELEK_SUMS(X)                                                                      \
  X(sum, kActivity, double, kAdd)          /* sum of y */                                 \
  X(sum_sq, kActivity, double, kAdd)       /* sum of y^2 */                               \
  X(active, kActivity, int64_t, kAdd)      /* how many y > threshold */                   \
  X(z_sum, kMoments, double, kAdd)         /* sum of z */                                 \
  X(z_sum_sq, kMoments, double, kAdd)      /* sum of z^2 */                               \
  X(abs_sum, kAbsolute, double, kAdd)      /* sum of |y| */                               \
  X(max, kRange, double, kMax)             /* maximum of y */                             \
  X(fired, kPerSample, int64_t, kAdd)      /* how many samples have some y > threshold */ \
  X(mean_peak, kPerSample, double, kMax)   /* maximum over samples of m_n */              \
  X(mean_sum, kPerSample, double, kAdd)    /* sum over samples of m_n */                  \
  X(mean_sum_sq, kPerSample, double, kAdd) /* sum over samples of m_n^2 */

/// Which value of a convolution is watched: the stored one, or the raw convolution, as a hook on the convolution sees it. For
/// kConv batch norm is kept apart; a value that no convolution makes is watched as stored.
enum class Tap : uint8_t { kRelu, kConv };

/// Moments of one batch_norm node's input, averaged over batches like PyTorch's train mode with momentum=None: mean of the
/// batches' means, mean of their unbiased variances. If a channel's variance is zero in a batch, the model's own mean
/// and variance count instead.
struct BatchMoments {
  std::string batch_norm;
  std::vector<double> mean, variance;  // [C]
  int64_t batches = 0;
};

/// What a session watches. Empty = nothing, at no cost.
struct Probes {
  std::map<std::string, uint32_t> values;  // value name -> Sums; the value must be stored (Tap::kConv: any name of its step)
  std::vector<std::string> tap_norms;      // conv or linear nodes whose tap norms are watched (Wanda)
  float threshold = 0.0F;
  Tap tap = Tap::kRelu;
  [[nodiscard]] bool empty() const noexcept { return values.empty() && tap_norms.empty(); }
};

/// Sums of one value with C channels: one vector [C] per sum of ELEK_SUMS (`sum`, `sum_sq`, `active`, …), empty if its set was
/// not asked for.
struct ValueSums {
  int64_t channels = 0;
  int64_t samples = 0;
  int64_t count = 0;      // samples * positions, NaN and infinity included
  int64_t nonfinite = 0;  // NaN and infinite values, all channels together
#define ELEK_VECTOR(name, set, type, combine) std::vector<type> name;
  ELEK_SUMS(ELEK_VECTOR)
#undef ELEK_VECTOR
};

/// norm_sq[(c*R + r)*S + s] = sum of x^2 over the inputs that tap (r, s) of input channel c meets: the squared norm of the
/// im2col column, padding, stride and dilation included. Grouped convolutions: c counts all input channels. Linear: R = S = 1.
struct TapNorms {
  int64_t channels = 0;
  Extent kernel = 1;
  int64_t samples = 0;
  std::vector<double> norm_sq;
};

struct ELEK_API Statistics {
  // What the sums belong to; merge() refuses to mix.
  uint64_t model_hash = 0;
  Tap tap = Tap::kRelu;
  float threshold = 0.0F;
  std::string precision = "f32";
  std::string kernels;  // choice of kernels that took them; other choices differ only by rounding
  std::string data;     // what the samples were, as described by the caller; a merge lists all
  int64_t samples = 0;
  std::map<std::string, ValueSums> values;
  std::map<std::string, TapNorms> tap_norms;

  /// Adds `other`'s sums and takes maxima. InputError naming the difference if model, tap, threshold, precision or the watched
  /// values differ; this object is then unchanged.
  void merge(const Statistics& other);
};

}  // namespace elek
