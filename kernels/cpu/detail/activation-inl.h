// SPDX-License-Identifier: Apache-2.0
// Activation functions on vectors of f32, as defined in elek/activation.h. They use comparisons, not Min and Max, so that NaN
// stays NaN. Compiled once per Highway target, hence the toggled guard.
// Tests: tests/kernels/epilogue_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_ACTIVATION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_ACTIVATION_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_ACTIVATION_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_ACTIVATION_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include "elek/activation.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
HWY_INLINE hn::Vec<D> relu(D d, hn::Vec<D> v) {
  return hn::IfThenZeroElse(hn::Lt(v, hn::Zero(d)), v);
}

template <class D>
HWY_INLINE hn::Vec<D> clip(hn::Vec<D> v, hn::Vec<D> low, hn::Vec<D> high, D /*d*/) {
  return hn::IfThenElse(hn::Lt(v, low), low, hn::IfThenElse(hn::Gt(v, high), high, v));
}

/// Computes exp(-|v|) only, which cannot overflow and stays in the range of Highway's Exp.
template <class D>
HWY_INLINE hn::Vec<D> sigmoid(D d, hn::Vec<D> v) {
  using V = hn::Vec<D>;
  const V one = hn::Set(d, 1.0F);
  const V e = hn::Exp(d, hn::Max(hn::Neg(hn::Abs(v)), hn::Set(d, -100.0F)));
  const V y = hn::Div(hn::IfThenElse(hn::Lt(v, hn::Zero(d)), e, one), hn::Add(one, e));
  return hn::IfThenElse(hn::IsNaN(v), v, y);
}

template <class D>
HWY_INLINE hn::Vec<D> hard_swish(D d, hn::Vec<D> v) {
  const hn::Vec<D> gate = clip(hn::Add(v, hn::Set(d, 3.0F)), hn::Zero(d), hn::Set(d, 6.0F), d);
  return hn::Mul(v, hn::Mul(gate, hn::Set(d, 1.0F / 6.0F)));
}

/// Below -100 it is 0 to f32's precision; so -infinity gives 0 and not infinity times the smallest sigmoid.
template <class D>
HWY_INLINE hn::Vec<D> silu(D d, hn::Vec<D> v) {
  return hn::IfThenZeroElse(hn::Lt(v, hn::Set(d, -100.0F)), hn::Mul(v, sigmoid(d, v)));
}

/// The activation is the same for all vectors of a call, so the branches are predicted.
template <class D>
HWY_INLINE hn::Vec<D> activate(D d, hn::Vec<D> v, const Activation& activation) {
  switch (activation.kind) {
    case Activation::Kind::kNone:
      break;
    case Activation::Kind::kRelu:
      return relu(d, v);
    case Activation::Kind::kClip:
      return clip(v, hn::Set(d, activation.low), hn::Set(d, activation.high), d);
    case Activation::Kind::kLeakyRelu:
      return hn::IfThenElse(hn::Lt(v, hn::Zero(d)), hn::Mul(v, hn::Set(d, activation.slope)), v);
    case Activation::Kind::kSigmoid:
      return sigmoid(d, v);
    case Activation::Kind::kHardSwish:
      return hard_swish(d, v);
    case Activation::Kind::kSilu:
      return silu(d, v);
  }
  return v;
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_ACTIVATION_INL_H_
