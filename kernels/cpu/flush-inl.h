// SPDX-License-Identifier: Apache-2.0
// From f32 chains to double totals: shared by the kernels that sum. Compiled once a Highway target, hence the toggled guard.
// Internal to kernels/cpu. Tests: through epilogue and tap_norms.
#if defined(ELEK_KERNELS_CPU_FLUSH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_FLUSH_INL_H_
#undef ELEK_KERNELS_CPU_FLUSH_INL_H_
#else
#define ELEK_KERNELS_CPU_FLUSH_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/cpu/walk.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// to[0 … lanes) += from, in double.
template <class D>
HWY_INLINE void FlushToDouble(D d, hn::Vec<D> from, double* HWY_RESTRICT to) {
  HWY_ALIGN float lanes[kLanes];
  hn::Store(from, d, lanes);
  const hn::CappedTag<double, hn::MaxLanes(D())> dd;
  const hn::Rebind<float, decltype(dd)> df;
  for (size_t l = 0; l < hn::Lanes(d); l += hn::Lanes(dd)) {
    hn::Store(hn::Add(hn::Load(dd, to + l), hn::PromoteTo(dd, hn::Load(df, lanes + l))), dd, to + l);
  }
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_FLUSH_INL_H_
