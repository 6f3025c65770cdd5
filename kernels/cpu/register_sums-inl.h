// SPDX-License-Identifier: Apache-2.0
// Per-channel sums taken while the values are still in registers: the end of the kernels that compute a convolution themselves
// (winograd, gemm_conv). A vector lane is a channel; a handful of positions (at most 16) is added in f32, then to the double
// totals of the thread: |error| <= 15 * 2^-24 of the sum of absolute terms (docs/statistics.md).
// Compiled once a Highway target, hence the toggled guard. Internal to kernels/cpu.
// Tests: tests/kernels/winograd_test.cpp, tests/kernels/gemm_conv_test.cpp
#if defined(ELEK_KERNELS_CPU_REGISTER_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_REGISTER_SUMS_INL_H_
#undef ELEK_KERNELS_CPU_REGISTER_SUMS_INL_H_
#else
#define ELEK_KERNELS_CPU_REGISTER_SUMS_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/cpu/channel_sums.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// What the last step sums: nothing, the default set alone, or whatever is asked for.
enum class Observe : uint8_t { kNothing, kActivity, kAll };

inline Observe observe_what(const ChannelSums* sums) {
  if (sums == nullptr) return Observe::kNothing;
  return sums->sums == kActivity ? Observe::kActivity : Observe::kAll;
}

/// The arrays of a thread from channel `c` on.
inline SumArrays at_channel(const SumArrays& s, int64_t c) {
  const auto move = [c](auto* p) { return p == nullptr ? nullptr : p + c; };
  return {.nonfinite = move(s.nonfinite),
          .sum = move(s.sum),
          .sum_sq = move(s.sum_sq),
          .active = move(s.active),
          .z_sum = move(s.z_sum),
          .z_sum_sq = move(s.z_sum_sq),
          .abs_sum = move(s.abs_sum),
          .max = move(s.max)};
}

/// total[0 … L) += partial: f32 within a handful of positions, double between them.
template <class T, class D>
HWY_INLINE void add_to([[maybe_unused]] D d, hn::Vec<D> partial, T* total) {
#if HWY_TARGET == HWY_SCALAR
  *total += static_cast<T>(hn::GetLane(partial));
#else
  const hn::Half<D> half;
  const hn::Rebind<T, decltype(half)> wide;
  const size_t n = hn::Lanes(half);
  hn::StoreU(hn::Add(hn::LoadU(wide, total), hn::PromoteTo(wide, hn::LowerHalf(half, partial))), wide, total);
  hn::StoreU(hn::Add(hn::LoadU(wide, total + n), hn::PromoteTo(wide, hn::UpperHalf(half, partial))), wide, total + n);
#endif
}

/// A rectangle of stored positions of one vector of channels: y[(i * row_pitch) + (j * pitch) + lane].
struct StoredPositions {
  const float* y;
  int rows, columns;
  int64_t row_pitch, pitch;  // floats
};

/// NaN and infinite lanes among them, counted the slow way: entered only when their sum of squares is not finite.
template <class D>
HWY_NOINLINE void count_nonfinite(D d, const StoredPositions& at, int64_t* count) {
  for (int i = 0; i < at.rows; ++i)
    for (int j = 0; j < at.columns; ++j)
      for (size_t lane = 0; lane < hn::Lanes(d); ++lane)
        count[lane] += std::isfinite(at.y[i * at.row_pitch + j * at.pitch + static_cast<int64_t>(lane)]) ? 0 : 1;
}

/// Partial sums of one vector of channels. add() each stored value, then add_all_to() the thread's arrays, once.
template <class D, Observe kObserve>
struct RegisterSums {
  using V = hn::Vec<D>;
  using DI = hn::RebindToSigned<D>;
  V sum, sum_sq, z_sum, z_sum_sq, abs_sum, max, threshold;
  hn::Vec<DI> active;

  HWY_INLINE RegisterSums(D d, float limit)
      : sum(hn::Zero(d)),
        sum_sq(hn::Zero(d)),
        z_sum(hn::Zero(d)),
        z_sum_sq(hn::Zero(d)),
        abs_sum(hn::Zero(d)),
        max(hn::Set(d, -std::numeric_limits<float>::infinity())),
        threshold(hn::Set(d, limit)),
        active(hn::Zero(DI())) {}

  /// z before residual and ReLU, y as stored
  HWY_INLINE void add(V z, V y) {
    const DI di;
    if constexpr (kObserve != Observe::kNothing) {
      sum = hn::Add(sum, y);
      sum_sq = hn::MulAdd(y, y, sum_sq);
#if HWY_TARGET <= HWY_AVX3  // one masked addition
      active = hn::IfThenElse(hn::RebindMask(di, hn::Gt(y, threshold)), hn::Add(active, hn::Set(di, 1)), active);
#else  // a mask is -1 in its lanes
      active = hn::Sub(active, hn::VecFromMask(di, hn::RebindMask(di, hn::Gt(y, threshold))));
#endif
    }
    if constexpr (kObserve == Observe::kAll) {
      z_sum = hn::Add(z_sum, z);
      z_sum_sq = hn::MulAdd(z, z, z_sum_sq);
      abs_sum = hn::Add(abs_sum, hn::Abs(y));
      max = hn::IfThenElse(hn::Or(hn::Gt(y, max), hn::IsNaN(y)), y, max);  // NaN wins
    }
  }

  /// `at`: where the values were stored, read again only if one of them may not be finite. `s` begins at the vector's channel.
  HWY_INLINE void add_all_to(D d, const SumArrays& s, const StoredPositions& at) const {
    if constexpr (kObserve != Observe::kNothing) {
      const DI di;
      if (s.sum != nullptr) {
        add_to(d, sum, s.sum);
        add_to(d, sum_sq, s.sum_sq);
        add_to(di, active, s.active);
      }
      if (s.z_sum != nullptr) {
        add_to(d, z_sum, s.z_sum);
        add_to(d, z_sum_sq, s.z_sum_sq);
      }
      if (s.abs_sum != nullptr) add_to(d, abs_sum, s.abs_sum);
      if (s.max != nullptr) {
        HWY_ALIGN float lanes[HWY_MAX_BYTES / sizeof(float)];
        hn::Store(max, d, lanes);
        for (size_t i = 0; i < hn::Lanes(d); ++i)
          if (!(lanes[i] <= s.max[i])) s.max[i] = std::isnan(s.max[i]) ? s.max[i] : lanes[i];
      }
      // A NaN or infinite y makes the sum of squares NaN or infinite; one that merely overflows counts none.
      if (!hn::AllTrue(d, hn::Le(sum_sq, hn::Set(d, std::numeric_limits<float>::max())))) count_nonfinite(d, at, s.nonfinite);
    }
  }
};

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_REGISTER_SUMS_INL_H_
