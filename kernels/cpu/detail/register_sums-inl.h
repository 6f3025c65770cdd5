// SPDX-License-Identifier: Apache-2.0
// Per-channel sums of values that are still in registers. All CPU kernels that sum use this struct. A vector lane is a channel
// (in NCHW, a position). A few values are added in f32 (a chain of additions); then the chain is added to double totals. The
// epilogue runs several chains side by side. winograd and gemm_conv run one over at most 16 positions: |error| <= 15 * 2^-24 of
// the sum of absolute terms (docs/statistics.md). finite() tells whether all values were finite. If not, the caller reads the
// stored values again, counts those that are not finite, and takes a maximum in which NaN wins: the vector maximum may lose a
// NaN.
// Compiled once per Highway target, hence the toggled guard.
// Tests: tests/kernels/epilogue_test.cpp, tests/kernels/winograd_test.cpp, tests/kernels/gemm_conv_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_REGISTER_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_REGISTER_SUMS_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_REGISTER_SUMS_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_REGISTER_SUMS_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/sums.h"
#include "kernels/cpu/channel_sums.h"
#include "kernels/cpu/detail/flush-inl.h"
#include "kernels/cpu/detail/observe.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// One chain of partial sums for one vector of channels. Members that kObserve does not use cost nothing.
template <class D, Observe kObserve>
struct RegisterSums {
  static constexpr Observe kTaken = kObserve;
  using V = hn::Vec<D>;
  using DI = hn::RebindToSigned<D>;
  V sum, sum_sq, z_sum, z_sum_sq, abs_sum, max;
  hn::Vec<DI> active;

  explicit HWY_INLINE RegisterSums(D d)
      : sum(hn::Zero(d)),
        sum_sq(hn::Zero(d)),
        z_sum(hn::Zero(d)),
        z_sum_sq(hn::Zero(d)),
        abs_sum(hn::Zero(d)),
        max(hn::Set(d, -std::numeric_limits<float>::infinity())),
        active(hn::Zero(DI())) {}

  /// z: before residual and activation; y: as stored.
  HWY_INLINE void add([[maybe_unused]] D d, V z, V y, V threshold) {
    if constexpr (kObserve != Observe::kNothing) {
      const DI di;
      sum = hn::Add(sum, y);
      sum_sq = hn::MulAdd(y, y, sum_sq);
#if HWY_TARGET <= HWY_AVX3  // one masked addition
      active = hn::IfThenElse(hn::RebindMask(di, hn::Gt(y, threshold)), hn::Add(active, hn::Set(di, 1)), active);
#else  // a lane of the mask is -1 where it is set
      active = hn::Sub(active, hn::BitCast(di, hn::VecFromMask(d, hn::Gt(y, threshold))));
#endif
    }
    if constexpr (kObserve == Observe::kAll) {
      z_sum = hn::Add(z_sum, z);
      z_sum_sq = hn::MulAdd(z, z, z_sum_sq);
      abs_sum = hn::Add(abs_sum, hn::Abs(y));
      max = hn::Max(max, y);  // NaN: see the head of this file
    }
    (void)z, (void)y, (void)threshold;
  }

  HWY_INLINE void join(const RegisterSums& o) {
    sum = hn::Add(sum, o.sum);
    sum_sq = hn::Add(sum_sq, o.sum_sq);
    z_sum = hn::Add(z_sum, o.z_sum);
    z_sum_sq = hn::Add(z_sum_sq, o.z_sum_sq);
    abs_sum = hn::Add(abs_sum, o.abs_sum);
    max = hn::Max(max, o.max);
    active = hn::Add(active, o.active);
  }

  /// Whether every value was finite and no sum of squares overflowed f32.
  [[nodiscard]] HWY_INLINE bool finite(D d) const {
    V squares = sum_sq;
    if constexpr (kObserve == Observe::kAll) squares = hn::Add(squares, z_sum_sq);
    return hn::AllTrue(d, hn::Le(squares, hn::Set(d, std::numeric_limits<float>::max())));  // false for NaN
  }
};

/// A rectangle of stored positions of one vector of channels: y[(i * row_pitch) + (j * pitch) + lane].
struct StoredPositions {
  const float* y;
  int rows, columns;
  int64_t row_pitch, pitch;  // floats
};

/// For a chain that was not finite: counts the values that are not finite, and takes the maximum, in which NaN wins.
template <class D>
HWY_NOINLINE void redo_nonfinite(D d, const StoredPositions& at, const SumArrays& s) {
  for (int i = 0; i < at.rows; ++i)
    for (int j = 0; j < at.columns; ++j)
      for (size_t lane = 0; lane < hn::Lanes(d); ++lane) {
        const float y = at.y[i * at.row_pitch + j * at.pitch + static_cast<int64_t>(lane)];
        s.nonfinite[lane] += std::isfinite(y) ? 0 : 1;
        if (s.max != nullptr) s.max[lane] = keep_larger(s.max[lane], static_cast<double>(y));
      }
}

/// Takes the maxima of a finite chain.
template <class D>
HWY_INLINE void take_max(D d, hn::Vec<D> max, double* HWY_RESTRICT total) {
  HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
  hn::Store(max, d, lanes);
  for (size_t i = 0; i < hn::Lanes(d); ++i) total[i] = keep_larger(total[i], static_cast<double>(lanes[i]));
}

/// Adds a chain to a thread's arrays, which begin at the vector's channel. `at`: its stored values, which are read again only
/// if the chain is not finite.
template <class D, class Sums>
HWY_INLINE void add_all_to(D d, const Sums& sums, const SumArrays& s, const StoredPositions& at) {
  if constexpr (Sums::kTaken != Observe::kNothing) {
    if (s.sum != nullptr) {
      add_to(d, sums.sum, s.sum);
      add_to(d, sums.sum_sq, s.sum_sq);
      add_to(hn::RebindToSigned<D>(), sums.active, s.active);
    }
    if (s.z_sum != nullptr) {
      add_to(d, sums.z_sum, s.z_sum);
      add_to(d, sums.z_sum_sq, s.z_sum_sq);
    }
    if (s.abs_sum != nullptr) add_to(d, sums.abs_sum, s.abs_sum);
    if (HWY_UNLIKELY(!sums.finite(d))) return redo_nonfinite(d, at, s);
    if (s.max != nullptr) take_max(d, sums.max, s.max);
  }
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_REGISTER_SUMS_INL_H_
