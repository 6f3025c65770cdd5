// SPDX-License-Identifier: Apache-2.0
// See batch_moments.h. A block of at most 32 rows is read twice while it is in the L1 cache: once for its mean, once for the
// squares around that mean. The mean is computed from differences to the block's first value, so its rounding error depends on
// the spread, not on the mean. The error that is left (`rest`) is corrected in double, so a constant channel has variance 0
// exactly.
#include "kernels/cpu/batch_moments.h"

#include <cmath>
#include <limits>
#include <string>

#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/targets.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/stored_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/batch_moments.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/error.h"
#include "kernels/cpu/detail/stored-inl.h"

#ifndef ELEK_KERNELS_CPU_BATCH_MOMENTS_LANES
#define ELEK_KERNELS_CPU_BATCH_MOMENTS_LANES
namespace elek::kernels::cpu {
/// Count, mean and sum of squared differences from the mean, of one lane or one channel.
struct Moment {
  double count = 0, mean = 0, m2 = 0;
  /// Merges n values with the given mean and sum of squared differences; weight = n / (count + n). Chan, Golub & LeVeque 1983.
  void merge(double n, double weight, double other_mean, double other_m2) noexcept {
    const double delta = other_mean - mean;
    mean += delta * weight;
    m2 += other_m2 + delta * delta * (count * weight);
    count += n;
  }
  void merge(const Moment& o) noexcept {
    if (o.count > 0) merge(o.count, o.count / (count + o.count), o.mean, o.m2);
  }
};
struct LaneMoments {
  Moment lanes[kLanes];
};
}  // namespace elek::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Lanes [lane, lane + Lanes(d)) of one block of at most kBlockRows rows.
constexpr int64_t kBlockRows = 32;
template <class D, typename T>
HWY_INLINE void moment_block(D d, const T* HWY_RESTRICT z, int64_t rows, int64_t stride, Moment* HWY_RESTRICT out) {
  using V = hn::Vec<D>;
  const V first = load_stored(d, z);
  V s0 = hn::Zero(d), s1 = s0, q0 = s0, q1 = s0;
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) {
    s0 = hn::Add(s0, hn::Sub(load_stored(d, z + r * stride), first));
    s1 = hn::Add(s1, hn::Sub(load_stored(d, z + (r + 1) * stride), first));
  }
  if (r < rows) s0 = hn::Add(s0, hn::Sub(load_stored(d, z + r * stride), first));
  const V mean = hn::MulAdd(hn::Add(s0, s1), hn::Set(d, 1.0F / static_cast<float>(rows)), first);
  s0 = s1 = hn::Zero(d);
  for (r = 0; r + 2 <= rows; r += 2) {
    const V a = hn::Sub(load_stored(d, z + r * stride), mean), b = hn::Sub(load_stored(d, z + (r + 1) * stride), mean);
    s0 = hn::Add(s0, a);
    s1 = hn::Add(s1, b);
    q0 = hn::MulAdd(a, a, q0);
    q1 = hn::MulAdd(b, b, q1);
  }
  if (r < rows) {
    const V a = hn::Sub(load_stored(d, z + r * stride), mean);
    s0 = hn::Add(s0, a);
    q0 = hn::MulAdd(a, a, q0);
  }
  HWY_ALIGN float means[kLanes], rests[kLanes], squares[kLanes];
  hn::Store(mean, d, means);
  hn::Store(hn::Add(s0, s1), d, rests);
  hn::Store(hn::Add(q0, q1), d, squares);
  const auto n = static_cast<double>(rows);
  const double weight = n / (out[0].count + n);  // all lanes of a vector have seen the same rows
  for (size_t l = 0; l < hn::Lanes(d); ++l) {    // rest: the error of the block's mean, which was rounded to f32
    const double rest = static_cast<double>(rests[l]) / n;
    const double m2 = static_cast<double>(squares[l]) - rest * rest * n;
    out[l].merge(n, weight, static_cast<double>(means[l]) + rest, m2 < 0 ? 0 : m2);
  }
}

template <typename T>
HWY_INLINE void moment_rows_of(const T* z, int64_t rows, int64_t stride, int width, LaneMoments& out) {
  const hn::CappedTag<float, kLanes> wide;
  const hn::CappedTag<float, kLanes / 2> half;
  const hn::CappedTag<float, 1> one;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)())),
                kHalf = static_cast<int>(hn::MaxLanes(decltype(half)()));
  for (int64_t r = 0; r < rows; r += kBlockRows) {
    const T* at = z + r * stride;
    const int64_t count = HWY_MIN(kBlockRows, rows - r);
    int lane = 0;
    for (; lane + kWide <= width; lane += kWide) moment_block(wide, at + lane, count, stride, out.lanes + lane);
    for (; lane + kHalf <= width; lane += kHalf) moment_block(half, at + lane, count, stride, out.lanes + lane);
    for (; lane < width; ++lane) moment_block(one, at + lane, count, stride, out.lanes + lane);
  }
}

#define ELEK_MOMENTS(T, suffix, dtype)                                                               \
  void moment_rows_##suffix(const T* z, int64_t rows, int64_t stride, int width, LaneMoments& out) { \
    moment_rows_of(z, rows, stride, width, out);                                                     \
  }
ELEK_STORED_TYPES(ELEK_MOMENTS)
#undef ELEK_MOMENTS

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

#define ELEK_RUN(T, suffix, dtype)                                                          \
  HWY_EXPORT(moment_rows_##suffix);                                                         \
  void moment_rows(const T* z, int64_t rows, int64_t stride, int width, LaneMoments& out) { \
    HWY_DYNAMIC_DISPATCH(moment_rows_##suffix)(z, rows, stride, width, out);                \
  }
ELEK_STORED_TYPES(ELEK_RUN)
#undef ELEK_RUN

/// Accumulators of one part, in channels. Rounded up, so that parts are a multiple of two cache lines apart.
int64_t part_channels(int64_t channels) { return (channels + kLanes - 1) / kLanes * kLanes; }

template <typename T>
void moments_part(const Geometry& geometry, const T* z, int64_t begin, int64_t end, Moment* channels) noexcept {
  PieceWalk walk(geometry, begin, end);
  Piece piece;
  while (walk.next(piece)) {
    LaneMoments lanes;
    const T* at = z + piece.offset;
    moment_rows(at, piece.rows, piece.row_stride, piece.width, lanes);
    if (piece.tail > 0) moment_rows(at + piece.rows * kLanes, 1, kLanes, piece.tail, lanes);
    for (int l = 0; l < (piece.one_channel ? kLanes : piece.valid); ++l) {
      channels[piece.channel + (piece.one_channel ? 0 : l)].merge(lanes.lanes[l]);
    }
  }
}

}  // namespace

size_t batch_moments_workspace_bytes(int64_t channels, int threads) {
  const int most = threads > 0 ? threads : default_threads();
  return static_cast<size_t>(most) * static_cast<size_t>(part_channels(channels)) * sizeof(Moment);
}

template <typename T>
void batch_moments(const ActivationView<T>& z, const MomentArrays& out, void* workspace, int threads) {
  check_view(z, "batch_moments", "z");
  ELEK_CHECK(workspace != nullptr && z.samples >= 1, "batch_moments: needs a workspace and at least one sample");
  const Geometry geometry(z);
  const int64_t total = geometry.tasks() * geometry.positions, channels = geometry.channels;
  const int parts = parts_for(geometry.elements(), threads, 1 << 16);
  auto* const moments = static_cast<Moment*>(workspace);
  for_parts(parts, [&](int part) {
    Moment* const mine = moments + part * part_channels(channels);
    for (int64_t c = 0; c < channels; ++c) mine[c] = Moment{};
    moments_part(geometry, z.data, part_begin(total, parts, part, kLanes), part_begin(total, parts, part + 1, kLanes), mine);
  });
  for (int64_t c = 0; c < channels; ++c) {
    Moment all;
    for (int part = 0; part < parts; ++part) {
      all.merge(moments[part * part_channels(channels) + c]);
    }
    if (!std::isfinite(all.m2)) all.mean = all.m2 = std::numeric_limits<double>::quiet_NaN();
    if (out.mean != nullptr) out.mean[c] = all.mean;
    if (out.variance_biased != nullptr) out.variance_biased[c] = all.m2 / all.count;
    if (out.variance_unbiased != nullptr) out.variance_unbiased[c] = all.count > 1 ? all.m2 / (all.count - 1) : all.m2;
  }
}

#define ELEK_INSTANTIATE(T, suffix, dtype) \
  template void batch_moments(const ActivationView<T>&, const MomentArrays&, void*, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

void normalise_by_moments(const Normalisation& n) {
  check_normalisation(n);
  for (int64_t c = 0; c < n.channels; ++c) (void)normalise_channel(n, c);
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
