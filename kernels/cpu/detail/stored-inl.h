// SPDX-License-Identifier: Apache-2.0
// Loads and stores vectors of f32 in each type in which activations are stored (stored_types.h). Rounds to nearest, ties to
// even; NaN stays NaN. Compiled once per Highway target, hence the toggled guard.
// Tests: tests/kernels/pool_test.cpp, tests/kernels/epilogue_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_STORED_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_STORED_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_STORED_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_STORED_INL_H_
#endif

#include <hwy/highway.h>

#include <type_traits>

#include "core/bfloat16.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> load_stored(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> load_stored(D d, const BFloat16* p) {
  const hn::RebindToUnsigned<D> wide;
  const hn::Rebind<uint16_t, D> narrow;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(narrow, &p->bits))));
}

template <class D>
HWY_INLINE hn::Vec<D> load_stored(D d, const uint8_t* p) {
  return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(hn::Rebind<uint8_t, D>(), p)));
}
template <class D>
HWY_INLINE hn::Vec<D> load_stored(D d, const int8_t* p) {
  return hn::ConvertTo(d, hn::PromoteTo(hn::RebindToSigned<D>(), hn::LoadU(hn::Rebind<int8_t, D>(), p)));
}

/// v rounded to T, still as f32: the value that store_rounded() stores and load_stored() loads.
template <class T, class D>
HWY_INLINE hn::Vec<D> rounded_to([[maybe_unused]] D d, hn::Vec<D> v) {
  if constexpr (std::is_same_v<T, float> || std::is_integral_v<T>) {  // integers: those that were loaded
    return v;
  } else {
    static_assert(std::is_same_v<T, BFloat16>, "say here how this type rounds");
    const hn::RebindToUnsigned<D> du;
    const auto bits = hn::BitCast(du, v);
    const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
    const auto nearest = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fff)));
    const auto quiet = hn::Or(bits, hn::Set(du, 0x400000));
    const auto chosen = hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, nearest);
    return hn::BitCast(d, hn::And(chosen, hn::Set(du, 0xffff0000U)));
  }
}

/// Stores a result of rounded_to(). Integers must be in the type's range.
template <class D, typename T, std::enable_if_t<std::is_integral_v<T>, int> = 0>
HWY_INLINE void store_rounded(hn::Vec<D> v, D, T* p) {
  const hn::Rebind<T, D> narrow;
  hn::StoreU(hn::DemoteTo(narrow, hn::NearestInt(v)), narrow, p);
}
template <class D>
HWY_INLINE void store_rounded(hn::Vec<D> v, D d, float* p) {
  hn::StoreU(v, d, p);
}
template <class D>
HWY_INLINE void store_rounded(hn::Vec<D> v, D, BFloat16* p) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;  // 16 bits in an int32, so narrowing does not saturate
  const hn::Rebind<uint16_t, D> narrow;
  hn::StoreU(hn::DemoteTo(narrow, hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(du, v)))), narrow, &p->bits);
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_STORED_INL_H_
