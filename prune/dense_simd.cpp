// SPDX-License-Identifier: Apache-2.0
// Products of rows in f32 and of packed blocks in f64. Google Highway compiles this file once per instruction set; the program
// chooses one when it starts. Tests: tests/prune/least_squares_test.cpp
#include <hwy/detect_compiler_arch.h>
#ifndef HWY_DISABLED_TARGETS
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128 | HWY_RVV)
#endif
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "prune/dense_simd.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <algorithm>

#include "prune/dense.h"

HWY_BEFORE_NAMESPACE();
namespace elek::detail {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// ---- rows times rows

constexpr int kRows = 4, kColumns = 3;  // twelve sums and four operands fit in 16 registers
/// Terms that are added in registers. Seven rows of this length fit in an L1 cache.
constexpr int64_t kTerms = 1024;
/// Rows of b that are copied side by side, so that rows whose distance is a power of two do not meet in one set of the cache.
constexpr int64_t kCopied = 24;
constexpr int64_t kCopyPitch = kTerms + 16;

/// c[i][j] (+)= a_i . b_j for kI rows of a and kJ rows of b.
template <int kI, int kJ>
HWY_INLINE void dot_products(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, int64_t length, int64_t terms,
                             float* HWY_RESTRICT c, int64_t pitch, bool add) {
  const hn::CappedTag<float, 16> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sums[kI][kJ];
#pragma GCC unroll 4
  for (int i = 0; i < kI; ++i)
#pragma GCC unroll 3
    for (int j = 0; j < kJ; ++j) sums[i][j] = hn::Zero(d);
  int64_t l = 0;
  for (; l + lanes <= terms; l += lanes) {
    hn::Vec<decltype(d)> right[kJ];
#pragma GCC unroll 3
    for (int j = 0; j < kJ; ++j) right[j] = hn::LoadU(d, b + j * kCopyPitch + l);
#pragma GCC unroll 4
    for (int i = 0; i < kI; ++i) {
      const auto left = hn::LoadU(d, a + i * length + l);
#pragma GCC unroll 3
      for (int j = 0; j < kJ; ++j) sums[i][j] = hn::MulAdd(left, right[j], sums[i][j]);
    }
  }
  for (int i = 0; i < kI; ++i)
    for (int j = 0; j < kJ; ++j) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[i][j]));
      for (int64_t rest = l; rest < terms; ++rest) sum += a[i * length + rest] * b[j * kCopyPitch + rest];
      float& to = c[i * pitch + j];
      to = add ? to + sum : sum;
    }
}

template <int kI>
HWY_INLINE void dot_columns(const float* a, const float* b, int64_t columns, int64_t length, int64_t terms, float* c,
                            int64_t pitch, bool add) {
  int64_t j = 0;
  for (; j + kColumns <= columns; j += kColumns)
    dot_products<kI, kColumns>(a, b + j * kCopyPitch, length, terms, c + j, pitch, add);
  for (; j < columns; ++j) dot_products<kI, 1>(a, b + j * kCopyPitch, length, terms, c + j, pitch, add);
}

void rows_times_rows(const float* a, const float* b, int64_t rows, int64_t columns, int64_t length, float* c, int64_t pitch) {
  HWY_ALIGN float copy[kCopied * kCopyPitch];
  for (int64_t from = 0; from < length; from += kTerms) {
    const int64_t terms = std::min(kTerms, length - from);
    for (int64_t first = 0; first < columns; first += kCopied) {
      const int64_t here = std::min(kCopied, columns - first);
      for (int64_t j = 0; j < here; ++j) std::copy_n(b + (first + j) * length + from, terms, copy + j * kCopyPitch);
      int64_t i = 0;
      for (; i + kRows <= rows; i += kRows)
        dot_columns<kRows>(a + i * length + from, copy, here, length, terms, c + i * pitch + first, pitch, from > 0);
      for (; i < rows; ++i)
        dot_columns<1>(a + i * length + from, copy, here, length, terms, c + i * pitch + first, pitch, from > 0);
    }
  }
}

// ---- blocks times blocks

constexpr int64_t kLeftRows = 6;  // with two vectors each: twelve sums

int64_t group_columns() {
  const hn::CappedTag<double, kMostGroup / 2> d;
  return 2 * static_cast<int64_t>(hn::Lanes(d));
}

void pack_groups(const double* from, int64_t pitch, int64_t depth, int64_t width, double* HWY_RESTRICT packed) {
  const hn::CappedTag<double, kMostGroup / 2> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t group = 2 * lanes;
  for (int64_t first = 0; first < width; first += group) {
    const int64_t here = std::min(group, width - first);
    for (int64_t step = 0; step < depth; ++step, packed += group) {
      const double* row = from + step * pitch + first;
      if (here == group) {
        hn::StoreU(hn::LoadU(d, row), d, packed);
        hn::StoreU(hn::LoadU(d, row + lanes), d, packed + lanes);
      } else {
        for (int64_t c = 0; c < group; ++c) packed[c] = c < here ? row[c] : 0.0;
      }
    }
  }
}

/// Six rows of the left factor times one group of right columns, summed in registers. finish(i, first, second) gets the sums of
/// row i. The last rows may be the same row again.
template <class Finish>
HWY_INLINE void multiply_group(const double* const (&rows)[kLeftRows], const double* HWY_RESTRICT right, int64_t depth,
                               const Finish& finish) {
  const hn::CappedTag<double, kMostGroup / 2> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> sums[kLeftRows][2];
#pragma GCC unroll 6
  for (int i = 0; i < kLeftRows; ++i) sums[i][0] = sums[i][1] = hn::Zero(d);
  for (int64_t step = 0; step < depth; ++step, right += 2 * lanes) {
    const auto first = hn::LoadU(d, right), second = hn::LoadU(d, right + lanes);
#pragma GCC unroll 6
    for (int i = 0; i < kLeftRows; ++i) {
      const auto value = hn::Set(d, rows[i][step]);
      sums[i][0] = hn::MulAdd(value, first, sums[i][0]);
      sums[i][1] = hn::MulAdd(value, second, sums[i][1]);
    }
  }
#pragma GCC unroll 6
  for (int i = 0; i < kLeftRows; ++i) finish(i, sums[i][0], sums[i][1]);
}

/// A group that lies in the target as a whole.
HWY_NOINLINE void add_whole_group(const double* const (&rows)[kLeftRows], const double* right, int64_t depth, double sign,
                                  double* HWY_RESTRICT c, int64_t pitch) {
  const hn::CappedTag<double, kMostGroup / 2> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, sign);
  multiply_group(rows, right, depth, [&](int i, auto first, auto second) HWY_ATTR {
    double* to = c + i * pitch;
    hn::StoreU(hn::MulAdd(factor, first, hn::LoadU(d, to)), d, to);
    hn::StoreU(hn::MulAdd(factor, second, hn::LoadU(d, to + lanes)), d, to + lanes);
  });
}

/// A group of which the target holds `count` rows and `columns` columns; row i begins at column i + `first` if that is above 0.
HWY_NOINLINE void add_part_of_group(const double* const (&rows)[kLeftRows], const double* right, int64_t depth, double sign,
                                    double* c, int64_t pitch, int64_t count, int64_t columns, int64_t first) {
  const hn::CappedTag<double, kMostGroup / 2> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  double m[kLeftRows][kMostGroup];
  multiply_group(rows, right, depth, [&](int i, auto one, auto two) HWY_ATTR {
    hn::StoreU(one, d, m[i]);
    hn::StoreU(two, d, m[i] + lanes);
  });
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = std::max<int64_t>(0, i + first); j < columns; ++j) c[i * pitch + j] += sign * m[i][j];
}

void blocks_times_blocks(const LeftRows& left, const double* right, int64_t depth, int64_t rows, int64_t columns, double sign,
                         const Target& to) {
  const int64_t width = group_columns();
  for (int64_t j = 0; j < columns; j += width) {
    const int64_t wide = std::min(width, columns - j);
    for (int64_t i = 0; i < rows; i += kLeftRows) {
      if (to.upper && j + width <= i) break;
      const int64_t count = std::min(kLeftRows, rows - i);
      const double* row[kLeftRows];
      for (int64_t r = 0; r < kLeftRows; ++r) row[r] = left.data + (i + std::min(r, count - 1)) * left.pitch;
      double* const c = to.c + i * to.pitch + j;
      if (count == kLeftRows && wide == width && (!to.upper || j >= i + kLeftRows)) {
        add_whole_group(row, right + j * depth, depth, sign, c, to.pitch);
      } else {
        add_part_of_group(row, right + j * depth, depth, sign, c, to.pitch, count, wide, to.upper ? i - j : -kDenseBlock);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace elek::detail
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::detail {

HWY_EXPORT(rows_times_rows);
HWY_EXPORT(pack_groups);
HWY_EXPORT(blocks_times_blocks);

void multiply_rows(const float* a, const float* b, int64_t rows, int64_t columns, int64_t length, float* c, int64_t pitch) {
  HWY_DYNAMIC_DISPATCH(rows_times_rows)(a, b, rows, columns, length, c, pitch);
}

void pack_block(const double* from, int64_t pitch, int64_t depth, int64_t width, double* packed) {
  HWY_DYNAMIC_DISPATCH(pack_groups)(from, pitch, depth, width, packed);
}

void multiply_blocks(const LeftRows& left, const double* right, int64_t depth, int64_t rows, int64_t columns, double sign,
                     const Target& to) {
  HWY_DYNAMIC_DISPATCH(blocks_times_blocks)(left, right, depth, rows, columns, sign, to);
}

}  // namespace elek::detail
#endif  // HWY_ONCE
