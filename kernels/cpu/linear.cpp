// SPDX-License-Identifier: Apache-2.0
// See linear.h. Google Highway compiles this file once per instruction set.
// Tests: tests/kernels/linear_test.cpp
#include "kernels/cpu/linear.h"

#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/linear.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int kVectorsOfGroup = 4;
// Samples side by side. 4 * kSamples sums, 4 vectors of weights and one broadcast must fit in 32 or 16 registers.
#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kSamples = 4;
#else
constexpr int kSamples = 2;
#endif

/// Outputs of one group for kRows samples from x on: sums[row][vector].
template <int kRows>
HWY_INLINE void multiply(const LinearLayer& p, const float* HWY_RESTRICT x, const float* HWY_RESTRICT w,
                         float* HWY_RESTRICT sums) {
  const hn::CappedTag<float, 16> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> acc[kRows][kVectorsOfGroup];
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectorsOfGroup; ++v) acc[r][v] = hn::Zero(d);
  for (int64_t c = 0; c < p.in; ++c, w += kVectorsOfGroup * lanes) {
    hn::Vec<decltype(d)> weights[kVectorsOfGroup];
#pragma GCC unroll 4
    for (int v = 0; v < kVectorsOfGroup; ++v) weights[v] = hn::Load(d, w + v * lanes);
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const auto value = hn::Set(d, x[r * p.in_pitch + c]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectorsOfGroup; ++v) acc[r][v] = hn::MulAdd(value, weights[v], acc[r][v]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < kVectorsOfGroup; ++v) hn::Store(acc[r][v], d, sums + (r * kVectorsOfGroup + v) * lanes);
}

void linear_group(const LinearLayer& p, int64_t samples, int64_t group, const float* x, const float* packed, const float* bias,
                  float* y) {
  const hn::CappedTag<float, 16> d;
  const int64_t outputs = kVectorsOfGroup * static_cast<int64_t>(hn::Lanes(d)), first = group * outputs;
  const int64_t count = std::min(outputs, p.out - first);
  const float* const w = packed + group * p.in * outputs;
  HWY_ALIGN float sums[kSamples * kVectorsOfGroup * 16];
  for (int64_t n = 0; n < samples;) {
    const int64_t rows = samples - n >= kSamples ? kSamples : 1;
    if (rows == kSamples) {
      multiply<kSamples>(p, x + n * p.in_pitch, w, sums);
    } else {
      multiply<1>(p, x + n * p.in_pitch, w, sums);
    }
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t k = 0; k < count; ++k) y[(n + r) * p.out_pitch + first + k] = sums[r * outputs + k] + bias[first + k];
    n += rows;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace elek::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

constexpr int64_t kVectors = 4;
/// Below this number of multiply-adds a second thread costs more than it saves.
constexpr int64_t kLeastMacs = int64_t{1} << 20;

int64_t outputs_of_group() { return kVectors * vector_lanes(16); }
int64_t groups_of(const LinearLayer& p) { return (p.out + outputs_of_group() - 1) / outputs_of_group(); }

}  // namespace

HWY_EXPORT(linear_group);

LinearPlan plan_linear(const LinearLayer& p) {
  ELEK_CHECK(
      p.samples > 0 && p.in > 0 && p.out > 0 && p.in_pitch >= p.in && p.out_pitch >= p.out && p.threads > 0,
      "linear: " + std::to_string(p.in) + " -> " + std::to_string(p.out) + ", " + std::to_string(p.samples) + " samples");
  return {p, static_cast<size_t>(groups_of(p) * p.in * outputs_of_group()) * sizeof(float), 0};
}

void pack_linear_weights(const LinearPlan& plan, const float* weights, float* packed) {
  const LinearLayer& p = plan.layer;
  const int64_t outputs = outputs_of_group();
  for_ranges(groups_of(p), p.threads, [&](int64_t group) {
    float* to = packed + group * p.in * outputs;
    for (int64_t c = 0; c < p.in; ++c)
      for (int64_t k = group * outputs; k < (group + 1) * outputs; ++k) *to++ = k < p.out ? weights[k * p.in + c] : 0.0F;
  });
}

void linear(const LinearPlan& plan, int64_t samples, const float* x, const float* packed, const float* bias, float* y) {
  const LinearLayer& p = plan.layer;
  ELEK_CHECK(samples > 0 && samples <= p.samples,
             "linear: planned for up to " + std::to_string(p.samples) + " samples, got " + std::to_string(samples));
  for_ranges(groups_of(p), samples * p.in * p.out < kLeastMacs ? 1 : p.threads, [&](int64_t group) {
    HWY_DYNAMIC_DISPATCH(linear_group)(p, samples, group, x, packed, bias, y);
  });
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
