// SPDX-License-Identifier: Apache-2.0
// Winograd's 1-D transforms on vectors: of a tile's input (B^T), of its output (A^T) and of the weights (G).
// The matrices, and the number of roundings of each: docs/winograd.md.
// Compiled once per Highway target, hence the toggled guard.
// Tests: tests/kernels/winograd_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_WINOGRAD_TRANSFORMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_TRANSFORMS_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_WINOGRAD_TRANSFORMS_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_WINOGRAD_TRANSFORMS_INL_H_
#endif

#include <hwy/highway.h>

#include "kernels/cpu/detail/winograd_tiles.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D>
using Vec = hn::Vec<D>;

constexpr float kA = 0.70710678118654752F, kB = 1.41421356237309505F, k15A = 1.06066017177982129F;  // k15A: 3a/2, rounded once

/// Transforms for kTile outputs, which use kTile + 2 points of the grid. Grid of F(4) and of its edge tiles F(3) and F(2): 0,
/// +-a, +-b, infinity with a = 1/sqrt(2), b = sqrt(2). Grid of F(2) used alone: 0, +-1, infinity.
template <int kGrid, int kTile>
struct Transform;

template <>
struct Transform<detail::kGrid4, 4> {
  static constexpr int kOutputs = 4, kGrid = detail::kGrid4;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D d, const V (&x)[6], V (&y)[6]) {
    const V m25 = hn::Set(d, -2.5F), a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V first = hn::MulAdd(m25, x[2], hn::Add(x[0], x[4])), last = hn::MulAdd(m25, x[3], hn::Add(x[1], x[5]));
    const V even_a = hn::NegMulAdd(two, x[2], x[4]), odd_a = hn::NegMulAdd(two, x[1], x[3]);
    const V even_b = hn::NegMulAdd(half, x[2], x[4]), odd_b = hn::NegMulAdd(half, x[1], x[3]);
    y[0] = first;  // x and y may be the same array
    y[1] = hn::MulAdd(a, odd_a, even_a);
    y[2] = hn::NegMulAdd(a, odd_a, even_a);
    y[3] = hn::MulAdd(b, odd_b, even_b);
    y[4] = hn::NegMulAdd(b, odd_b, even_b);
    y[5] = last;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D d, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    const V a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V a3 = hn::Set(d, kA * 0.5F), b3 = hn::Set(d, kB * 2.0F);
    const V sa = hn::Add(m[from], m[2 * from]), da = hn::Sub(m[from], m[2 * from]);
    const V sb = hn::Add(m[3 * from], m[4 * from]), db = hn::Sub(m[3 * from], m[4 * from]);
    y[0] = hn::Add(m[0], hn::Add(sa, sb));
    y[to] = hn::MulAdd(b, db, hn::Mul(a, da));
    y[2 * to] = hn::MulAdd(two, sb, hn::Mul(half, sa));
    y[3 * to] = hn::Add(hn::MulAdd(b3, db, hn::Mul(a3, da)), m[5 * from]);
  }
};

template <>
struct Transform<detail::kGrid4, 3> {  // at +-a, +-b, infinity
  static constexpr int kOutputs = 3, kGrid = detail::kGrid4;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D d, const V (&x)[5], V (&y)[5]) {
    const V m25 = hn::Set(d, -2.5F), a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V last = hn::MulAdd(m25, x[2], hn::Add(x[0], x[4]));
    const V even_a = hn::MulSub(half, x[2], x[0]), odd_a = hn::NegMulAdd(two, x[1], x[3]);
    const V even_b = hn::MulSub(two, x[2], x[0]), odd_b = hn::NegMulAdd(half, x[1], x[3]);
    y[0] = hn::MulAdd(a, odd_a, even_a);  // x and y may be the same array
    y[1] = hn::NegMulAdd(a, odd_a, even_a);
    y[2] = hn::MulAdd(b, odd_b, even_b);
    y[3] = hn::NegMulAdd(b, odd_b, even_b);
    y[4] = last;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D d, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    const V a = hn::Set(d, kA), b = hn::Set(d, kB), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V sa = hn::Add(m[0], m[from]), da = hn::Sub(m[0], m[from]);
    const V sb = hn::Add(m[2 * from], m[3 * from]), db = hn::Sub(m[2 * from], m[3 * from]);
    y[0] = hn::Add(sa, sb);
    y[to] = hn::MulAdd(b, db, hn::Mul(a, da));
    y[2 * to] = hn::Add(hn::MulAdd(two, sb, hn::Mul(half, sa)), m[4 * from]);
  }
};

template <>
struct Transform<detail::kGrid4, 2> {  // at 0, +-a, infinity
  static constexpr int kOutputs = 2, kGrid = detail::kGrid4;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D d, const V (&x)[4], V (&y)[4]) {
    const V m15 = hn::Set(d, -1.5F), m15a = hn::Set(d, -k15A), half = hn::Set(d, 0.5F), two = hn::Set(d, 2.0F);
    const V first = hn::NegMulAdd(two, x[2], x[0]), last = hn::NegMulAdd(half, x[1], x[3]);
    const V even = hn::Mul(m15, x[2]), odd = x[1];
    y[0] = first;  // x and y may be the same array
    y[1] = hn::MulAdd(m15a, odd, even);
    y[2] = hn::NegMulAdd(m15a, odd, even);
    y[3] = last;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D d, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    y[0] = hn::Add(m[0], hn::Add(m[from], m[2 * from]));
    y[to] = hn::MulAdd(hn::Set(d, kA), hn::Sub(m[from], m[2 * from]), m[3 * from]);
  }
};

template <>
struct Transform<detail::kGrid2, 2> {
  static constexpr int kOutputs = 2, kGrid = detail::kGrid2;
  template <class D, class V = Vec<D>>
  static HWY_INLINE void input(D, const V (&x)[4], V (&y)[4]) {
    const V first = hn::Sub(x[0], x[2]), second = hn::Add(x[1], x[2]), third = hn::Sub(x[2], x[1]);
    y[3] = hn::Sub(x[3], x[1]);
    y[0] = first;
    y[1] = second;
    y[2] = third;
  }
  template <class D, class V = Vec<D>>
  static HWY_INLINE void output(D, const V* HWY_RESTRICT m, int from, V* HWY_RESTRICT y, int to) {
    y[0] = hn::Add(m[0], hn::Add(m[from], m[2 * from]));
    y[to] = hn::Add(hn::Sub(m[from], m[2 * from]), m[3 * from]);
  }
};

/// G of docs/winograd.md: transforms three weights (one dimension) to the points of a whole tile.
template <int kGrid>
struct WeightTransform;

template <>
struct WeightTransform<detail::kGrid4> {  // rows [1, p, p^2] / N(p), N = 1, -3/2 at +-a, 6 at +-b
  static constexpr float kRows[6][3] = {{1, 0, 0},
                                        {-2.0F / 3, -kA * 2 / 3, -1.0F / 3},
                                        {-2.0F / 3, kA * 2 / 3, -1.0F / 3},
                                        {1.0F / 6, kB / 6, 1.0F / 3},
                                        {1.0F / 6, -kB / 6, 1.0F / 3},
                                        {0, 0, 1}};
  template <class D, class V = Vec<D>>
  static HWY_INLINE void points(D d, const V (&w)[3], V (&y)[6]) {
    const V even_a = hn::MulAdd(hn::Set(d, kRows[1][2]), w[2], hn::Mul(hn::Set(d, kRows[1][0]), w[0]));
    const V even_b = hn::MulAdd(hn::Set(d, kRows[3][2]), w[2], hn::Mul(hn::Set(d, kRows[3][0]), w[0]));
    const V odd_a = hn::Set(d, kRows[1][1]), odd_b = hn::Set(d, kRows[3][1]);
    y[0] = w[0];
    y[1] = hn::MulAdd(odd_a, w[1], even_a);
    y[2] = hn::NegMulAdd(odd_a, w[1], even_a);
    y[3] = hn::MulAdd(odd_b, w[1], even_b);
    y[4] = hn::NegMulAdd(odd_b, w[1], even_b);
    y[5] = w[2];
  }
};

template <>
struct WeightTransform<detail::kGrid2> {
  static constexpr float kRows[4][3] = {{1, 0, 0}, {0.5F, 0.5F, 0.5F}, {0.5F, -0.5F, 0.5F}, {0, 0, 1}};
  template <class D, class V = Vec<D>>
  static HWY_INLINE void points(D d, const V (&w)[3], V (&y)[4]) {
    const V half = hn::Set(d, 0.5F), even = hn::Mul(half, hn::Add(w[0], w[2]));
    y[0] = w[0];
    y[1] = hn::MulAdd(half, w[1], even);
    y[2] = hn::NegMulAdd(half, w[1], even);
    y[3] = w[2];
  }
};

/// The place of point (i, j) of a tile in the grid of points.
template <class Rows, class Columns>
constexpr size_t place_in_grid(int i, int j) {
  const int row = detail::grid_point(Rows::kGrid, Rows::kOutputs, i);
  const int point = row * Rows::kGrid + detail::grid_point(Columns::kGrid, Columns::kOutputs, j);
  return static_cast<size_t>(point);
}

/// Calls body(Rows(), Columns()) with the transforms of a tile.
template <int kGrid, class Body>
HWY_INLINE void with_transforms(const detail::TilePlace& place, const Body& body) {
  if constexpr (kGrid == detail::kGrid2) {
    body(Transform<kGrid, 2>(), Transform<kGrid, 2>());
  } else {
    const auto with_rows = [&](auto rows) HWY_ATTR {
      if (place.columns == 4) return body(rows, Transform<kGrid, 4>());
      if (place.columns == 3) return body(rows, Transform<kGrid, 3>());
      return body(rows, Transform<kGrid, 2>());
    };
    if (place.rows == 4) return with_rows(Transform<kGrid, 4>());
    if (place.rows == 3) return with_rows(Transform<kGrid, 3>());
    return with_rows(Transform<kGrid, 2>());
  }
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_WINOGRAD_TRANSFORMS_INL_H_
