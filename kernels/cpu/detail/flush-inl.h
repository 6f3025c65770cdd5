// SPDX-License-Identifier: Apache-2.0
// Adds f32 partial sums in registers to double totals. All kernels that sum use this function.
// Compiled once per Highway target, hence the toggled guard. Tests: those of epilogue, tap_norms, winograd and gemm_conv.
#if defined(ELEK_KERNELS_CPU_DETAIL_FLUSH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_FLUSH_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_FLUSH_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_FLUSH_INL_H_
#endif

#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// total[0 … Lanes(d)) += partial. T is double for f32 sums and int64 for i32 counts.
template <class T, class D>
HWY_INLINE void add_to([[maybe_unused]] D d, hn::Vec<D> partial, T* HWY_RESTRICT total) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    *total += static_cast<T>(hn::GetLane(partial));
  } else {
#if HWY_TARGET != HWY_SCALAR  // its vectors have no halves
    const hn::Half<D> half;
    const hn::Rebind<T, decltype(half)> wide;
    const size_t n = hn::Lanes(half);
    hn::StoreU(hn::Add(hn::LoadU(wide, total), hn::PromoteTo(wide, hn::LowerHalf(half, partial))), wide, total);
    hn::StoreU(hn::Add(hn::LoadU(wide, total + n), hn::PromoteTo(wide, hn::UpperHalf(half, partial))), wide, total + n);
#endif
  }
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_FLUSH_INL_H_
