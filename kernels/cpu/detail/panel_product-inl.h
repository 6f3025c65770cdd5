// SPDX-License-Identifier: Apache-2.0
// The micro-kernel of gemm_conv and winograd: multiplies a panel of rows (pixels of a convolution, or tiles of a Winograd
// block) by two vectors of output channels and accumulates in registers. One step loads two vectors of weights and broadcasts
// one value per row.
// Rows are stored like pixels of a blocked layout: planes of kBlock channels, the rows of a plane side by side. So every value
// of a step is at a constant distance from one pointer. One pointer per row would need more general registers than there are,
// and the instructions that move pointers would use ports that multiply. Compiled once per Highway target, hence the toggled
// guard.
// Tests: tests/kernels/gemm_conv_test.cpp, tests/kernels/winograd_test.cpp
#if defined(ELEK_KERNELS_CPU_DETAIL_PANEL_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ELEK_KERNELS_CPU_DETAIL_PANEL_PRODUCT_INL_H_
#undef ELEK_KERNELS_CPU_DETAIL_PANEL_PRODUCT_INL_H_
#else
#define ELEK_KERNELS_CPU_DETAIL_PANEL_PRODUCT_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <type_traits>

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of the micro-kernel. Accumulators (2 per row), two vectors of weights and one broadcast must fit in 32 or 16 registers.
#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kPanelRows = 14;
#else
constexpr int kPanelRows = 6;
#endif

constexpr int64_t kLineFloats = 16;

/// Calls body(std::integral_constant<int, n>()); n must be less than kCount.
template <int kCount, int kAt = 0, class Body>
HWY_INLINE void with_constant(int64_t n, const Body& body) {
  if constexpr (kAt < kCount - 1) {
    if (n != kAt) return with_constant<kCount, kAt + 1>(n, body);
  }
  body(std::integral_constant<int, kAt>());
}

/// The values of a panel: `count` planes of kBlock channels; every `blocks`-th plane has only `last` channels.
struct Planes {
  const float* first;  // the panel's first row in plane 0
  int64_t stride;      // floats from one plane to the next
  int64_t count;
  int64_t blocks;    // planes per tap
  int64_t last;      // channels in a tap's last plane
  int64_t skip = 0;  // floats between a tap's last plane and the next tap's first, besides the stride
};

/// Where the results of a panel go, and the residuals to add: one stream per vector, `rows` rows each. They are prefetched
/// while the panel is multiplied, so that the epilogue waits neither for a residual nor for the output's cache lines. It
/// matters if the output is larger than the caches, as in a 1x1 convolution with more outputs than inputs.
struct ResultLines {
  const float* streams[4];
  int count = 0;
  int64_t rows = 0;
  int64_t rows_a_plane = 0;
};

/// The micro-kernel's inputs, and the data that it prefetches meanwhile: the next panel, later weights, and the results. It
/// prefetches a few cache lines per plane. All at once they would not arrive earlier, and they would stall the loads of x.
struct Operands {
  Planes x;
  const float* weights;  // [channels of all planes][2 vectors]
  const float* x_ahead;
  const float* lines_ahead;
  int64_t lines_a_plane;
  ResultLines results;
};

/// For data that is used much later, or does not fit in the L1 cache.
HWY_INLINE void fetch_to_l2(const float* p) { __builtin_prefetch(p, 0, 2); }

template <int kBlock>
HWY_INLINE void fetch_results(const ResultLines& results, int64_t plane) {
  const int64_t first = plane * results.rows_a_plane;
  for (int64_t row = first; row < std::min(first + results.rows_a_plane, results.rows); ++row)
    for (int stream = 0; stream < results.count; ++stream) hwy::Prefetch(results.streams[stream] + row * kBlock);
}

/// acc[v][r] += x[r] u[v] for one channel. Meanwhile prefetches the cache line at `ahead`.
/// The loops over accumulators must be unrolled: an array that is indexed by a variable is kept in memory, not in registers.
template <int kRows, int kVectors, int kBlock, class V>
HWY_INLINE void add_channel(const float* HWY_RESTRICT x, const float* HWY_RESTRICT u, const float* ahead,
                            V (&acc)[kVectors][kRows]) {
  const hn::CappedTag<float, kBlock> d;
  V weights[kVectors];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v) weights[v] = hn::Load(d, u + v * static_cast<int64_t>(hn::Lanes(d)));
  hwy::Prefetch(ahead);
#pragma GCC unroll 14
  for (int r = 0; r < kRows; ++r) {
    const V value = hn::Set(d, x[r * kBlock]);
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) acc[v][r] = hn::MulAdd(value, weights[v], acc[v][r]);
  }
}

/// acc[v][r] += sum over planes and channels of x[r] weights[v], for kRows rows and kVectors vectors of output channels.
template <int kRows, int kVectors, int kBlock, class V>
HWY_INLINE void accumulate(const Operands& o, V (&acc)[kVectors][kRows]) {
  const hn::CappedTag<float, kBlock> d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const Planes& x = o.x;
  const float *HWY_RESTRICT u = o.weights, *lines = o.lines_ahead, *next = o.x_ahead;
  const float* plane = x.first;
  for (int64_t i = 0, in_tap = 1; i < x.count; ++i, ++in_tap) {
    const bool tail = in_tap == x.blocks;
    const int64_t channels = tail ? x.last : kBlock;
    if (tail) in_tap = 0;
    for (int64_t line = 0; line < o.lines_a_plane; ++line, lines += kLineFloats) fetch_to_l2(lines);
    fetch_results<kBlock>(o.results, i);
    // Two channels per iteration, because the instructions that count the loop also use ports that multiply.
    int64_t c = 0;
    for (; c + 2 <= channels; c += 2, u += 4 * lanes) {
      add_channel<kRows, kVectors, kBlock>(plane + c, u, next + c * kBlock, acc);
      add_channel<kRows, kVectors, kBlock>(plane + c + 1, u + 2 * lanes, next + (c + 1) * kBlock, acc);
    }
    if (c < channels) {
      add_channel<kRows, kVectors, kBlock>(plane + c, u, next + c * kBlock, acc);
      u += 2 * lanes;
    }
    const int64_t step = tail ? x.stride + x.skip : x.stride;
    plane += step;
    next += step;
  }
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ELEK_KERNELS_CPU_DETAIL_PANEL_PRODUCT_INL_H_
