// SPDX-License-Identifier: Apache-2.0
// See epilogue.h. This file is compiled once a Highway target (foreach_target.h) and then once more for the plain code below
// HWY_ONCE. The inner loop knows lanes only; which channel a lane is was settled by walk.h.
#include "kernels/cpu/epilogue.h"

#include <limits>
#include <string>

#include "kernels/cpu/lane_sums.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/targets.h"
#include "kernels/cpu/walk.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/epilogue.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/flush-inl.h"
#include "kernels/cpu/stored-inl.h"

#ifndef ELEK_KERNELS_CPU_EPILOGUE_JOB
#define ELEK_KERNELS_CPU_EPILOGUE_JOB
namespace elek::kernels::cpu {
/// One call, shared by its parts.
template <typename Z, typename Y>
struct EpilogueJob {
  const Z* z = nullptr;  // null = read-only: y is there already
  const Y* residual = nullptr;
  Y* y = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  float lowest = 0.0F;  // below it, 0 is stored: 0 for relu, -infinity for none
  float threshold = 0.0F;
  bool sums = false;
  bool all_sums = false;  // more than activity and per-sample
};
}  // namespace elek::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

enum SumMode : int { kNoSums, kActivitySums, kEverySum };

/// One chain of f32 partial sums. Members that a mode does not use cost nothing.
template <class D>
struct Chain {
  using V = hn::Vec<D>;
  V sum, sum_sq, z_sum, z_sum_sq, abs_sum, max;
  hn::Vec<hn::RebindToSigned<D>> active;
  explicit HWY_INLINE Chain(D d)
      : sum(hn::Zero(d)),
        sum_sq(hn::Zero(d)),
        z_sum(hn::Zero(d)),
        z_sum_sq(hn::Zero(d)),
        abs_sum(hn::Zero(d)),
        max(hn::Set(d, -std::numeric_limits<float>::infinity())),
        active(hn::Zero(hn::RebindToSigned<D>())) {}

  template <int kMode>
  HWY_INLINE void add(D d, V z, V y, V threshold) {
    if constexpr (kMode != kNoSums) {
      sum = hn::Add(sum, y);
      sum_sq = hn::MulAdd(y, y, sum_sq);
      const hn::RebindToSigned<D> di;
#if HWY_TARGET <= HWY_AVX3  // one masked addition
      active = hn::IfThenElse(hn::RebindMask(di, hn::Gt(y, threshold)), hn::Add(active, hn::Set(di, 1)), active);
#else  // a mask is -1 in its lanes
      active = hn::Sub(active, hn::BitCast(di, hn::VecFromMask(d, hn::Gt(y, threshold))));
#endif
    }
    if constexpr (kMode == kEverySum) {
      z_sum = hn::Add(z_sum, z);
      z_sum_sq = hn::MulAdd(z, z, z_sum_sq);
      abs_sum = hn::Add(abs_sum, hn::Abs(y));
      max = hn::Max(max, y);
    }
  }
  HWY_INLINE void join(const Chain& o) {
    sum = hn::Add(sum, o.sum);
    sum_sq = hn::Add(sum_sq, o.sum_sq);
    z_sum = hn::Add(z_sum, o.z_sum);
    z_sum_sq = hn::Add(z_sum_sq, o.z_sum_sq);
    abs_sum = hn::Add(abs_sum, o.abs_sum);
    max = hn::Max(max, o.max);
    active = hn::Add(active, o.active);
  }
};

/// Lanes [lane, lane + Lanes(d)) of up to kBlockRows rows: the inner loop.
template <class D, int kMode, bool kResidual, bool kStore, typename Z, typename Y>
struct Column {
  using V = hn::Vec<D>;
  static constexpr int64_t kChains = kMode == kEverySum ? 2 : 4;
  static constexpr int64_t kChainTerms = 8;  // docs/statistics.md derives the bound from these two
  static constexpr int64_t kBlockRows = kChains * kChainTerms;
  static constexpr bool kKeepZ = kMode == kEverySum && kStore;  // y may overwrite z, and a block may have to be redone

  const EpilogueJob<Z, Y>& job;
  const D d;
  const V scale, shift, lowest, threshold;
  const int lane;
  LaneSums& out;

  HWY_INLINE Column(const EpilogueJob<Z, Y>& j, D tag, const float* HWY_RESTRICT lane_scale,
                    const float* HWY_RESTRICT lane_shift, int first_lane, LaneSums& sums)
      : job(j),
        d(tag),
        scale(hn::LoadU(tag, lane_scale + first_lane)),
        shift(hn::LoadU(tag, lane_shift + first_lane)),
        lowest(hn::Set(tag, j.lowest)),
        threshold(hn::Set(tag, j.threshold)),
        lane(first_lane),
        out(sums) {}

  HWY_INLINE V preactivation(int64_t at) const {
    if constexpr (!kStore) return LoadStored(d, job.y + at);
    return hn::MulAdd(LoadStored(d, job.z + at), scale, shift);
  }
  HWY_INLINE V stored(V z, int64_t at) const {
    if constexpr (!kStore) return z;
    V v = z;
    if constexpr (kResidual) v = hn::Add(v, LoadStored(d, job.residual + at));
    return RoundedTo<Y>(d, hn::IfThenZeroElse(hn::Lt(v, lowest), v));  // not Max: NaN stays NaN
  }
  HWY_INLINE void put(V z, V y, int64_t at, float* HWY_RESTRICT kept_z) const {
    if constexpr (kStore) StoreRounded(y, d, job.y + at);
    if constexpr (kKeepZ) hn::Store(z, d, kept_z);
    (void)z, (void)y, (void)at, (void)kept_z;
  }

  HWY_INLINE void block(int64_t offset, int64_t rows, int64_t stride) const {
    constexpr int64_t kN = static_cast<int64_t>(hn::MaxLanes(D()));
    HWY_ALIGN float kept_z[kKeepZ ? kBlockRows * kN : 1];
    Chain<D> a(d), b(d), c(d), e(d);
    int64_t at = offset + lane, r = 0;
    float* kept = kept_z;
    for (; r + kChains <= rows; r += kChains, at += kChains * stride) {
      const V z0 = preactivation(at), z1 = preactivation(at + stride);
      const V y0 = stored(z0, at), y1 = stored(z1, at + stride);
      if constexpr (kChains == 4) {
        const V z2 = preactivation(at + 2 * stride), z3 = preactivation(at + 3 * stride);
        const V y2 = stored(z2, at + 2 * stride), y3 = stored(z3, at + 3 * stride);
        put(z2, y2, at + 2 * stride, kept);
        put(z3, y3, at + 3 * stride, kept);
        c.template add<kMode>(d, z2, y2, threshold);
        e.template add<kMode>(d, z3, y3, threshold);
      }
      put(z0, y0, at, kept);
      put(z1, y1, at + stride, kept + (kKeepZ ? kN : 0));
      a.template add<kMode>(d, z0, y0, threshold);
      b.template add<kMode>(d, z1, y1, threshold);
      kept += kKeepZ ? 2 * kN : 0;
    }
    for (int64_t left = 0; r < rows; ++r, ++left, at += stride) {  // fewer than kChains rows: one a chain
      const V z0 = preactivation(at), y0 = stored(z0, at);
      put(z0, y0, at, kept);
      if (left == 0) a.template add<kMode>(d, z0, y0, threshold);
      if (left == 1) b.template add<kMode>(d, z0, y0, threshold);
      if (left == 2) c.template add<kMode>(d, z0, y0, threshold);
    }
    if constexpr (kMode != kNoSums) {
      a.join(b);
      if constexpr (kChains == 4) {
        c.join(e);
        a.join(c);
      }
      flush(a, offset, rows, stride, kept_z);
    }
  }

  HWY_INLINE void flush(const Chain<D>& chain, int64_t offset, int64_t rows, int64_t stride, const float* kept_z) const {
    V sentinel = chain.sum_sq;
    if constexpr (kMode == kEverySum) sentinel = hn::Add(sentinel, chain.z_sum_sq);
    if (HWY_UNLIKELY(!hn::AllTrue(d, hn::Eq(hn::Sub(sentinel, sentinel), hn::Zero(d))))) {  // NaN or infinite
      constexpr int64_t kN = static_cast<int64_t>(hn::MaxLanes(D()));
      redo_block(job.y + offset + lane, stride, kKeepZ ? kept_z : nullptr, kN, rows, job.threshold, lane, static_cast<int>(kN),
                 out);
      return;
    }
    FlushToDouble(d, chain.sum, out.sum + lane);
    FlushToDouble(d, chain.sum_sq, out.sum_sq + lane);
    const hn::RebindToSigned<D> di;
    hn::StoreU(hn::Add(hn::LoadU(di, out.active + lane), chain.active), di, out.active + lane);
    if constexpr (kMode == kEverySum) {
      FlushToDouble(d, chain.abs_sum, out.abs_sum + lane);
      // A NaN kept from a redone block must survive: Max of two vectors may drop it.
      const V kept = hn::LoadU(d, out.max + lane);
      hn::StoreU(hn::IfThenElse(hn::Gt(chain.max, kept), chain.max, kept), d, out.max + lane);
    }
    if constexpr (kKeepZ) {
      FlushToDouble(d, chain.z_sum, out.z_sum + lane);
      FlushToDouble(d, chain.z_sum_sq, out.z_sum_sq + lane);
    }
  }
};

/// `rows` rows of `width` lanes. Blocks of rows outside, columns inside, so that a block is in L1 for all its columns.
template <int kMode, bool kResidual, bool kStore, typename Z, typename Y>
HWY_INLINE void Rows(const EpilogueJob<Z, Y>& job, int64_t offset, int64_t rows, int64_t stride, int width, const float* scale,
                     const float* shift, LaneSums& out) {
  const hn::CappedTag<float, kLanes> wide;
  const hn::CappedTag<float, kLanes / 2> half;
  const hn::CappedTag<float, 1> one;
  using Wide = Column<decltype(wide), kMode, kResidual, kStore, Z, Y>;
  constexpr int64_t kBlockRows = Wide::kBlockRows;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)())),
                kHalf = static_cast<int>(hn::MaxLanes(decltype(half)()));
  if (width == kLanes && kWide == kLanes) {  // one vector is one row: the main case
    const Wide column(job, wide, scale, shift, 0, out);
    for (int64_t r = 0; r < rows; r += kBlockRows) column.block(offset + r * stride, HWY_MIN(kBlockRows, rows - r), stride);
    return;
  }
  for (int64_t r = 0; r < rows; r += kBlockRows) {
    const int64_t at = offset + r * stride, count = HWY_MIN(kBlockRows, rows - r);
    int lane = 0;
    for (; lane + kHalf <= width; lane += kHalf) {
      Column<decltype(half), kMode, kResidual, kStore, Z, Y>(job, half, scale, shift, lane, out).block(at, count, stride);
    }
    for (; lane < width; ++lane) {
      Column<decltype(one), kMode, kResidual, kStore, Z, Y>(job, one, scale, shift, lane, out).block(at, count, stride);
    }
  }
}

template <int kMode, bool kResidual, bool kStore, typename Z, typename Y>
void Pieces(const EpilogueJob<Z, Y>& job, const Geometry& geometry, int64_t begin, int64_t end, const SumArrays& to) {
  PieceWalk walk(geometry, begin, end);
  Piece piece;
  while (walk.next(piece)) {
    HWY_ALIGN float scale[kLanes] = {};  // padding lanes: 0 * z + 0
    HWY_ALIGN float shift[kLanes] = {};
    for (int l = 0; l < (piece.one_channel ? kLanes : piece.valid); ++l) {
      const int64_t c = piece.channel + (piece.one_channel ? 0 : l);
      scale[l] = job.scale != nullptr ? job.scale[c] : 1.0F;
      shift[l] = job.shift != nullptr ? job.shift[c] : 0.0F;
    }
    LaneSums sums;
    Rows<kMode, kResidual, kStore>(job, piece.offset, piece.rows, piece.row_stride, piece.width, scale, shift, sums);
    if (piece.tail > 0) {
      Rows<kMode, kResidual, kStore>(job, piece.offset + piece.rows * kLanes, 1, kLanes, piece.tail, scale, shift, sums);
    }
    if constexpr (kMode != kNoSums) fold(sums, piece, geometry.positions, to);
  }
}

template <typename Z, typename Y>
HWY_INLINE void Part(const EpilogueJob<Z, Y>& job, const Geometry& geometry, int64_t begin, int64_t end, const SumArrays& to) {
  if (job.z == nullptr) {
    if (job.all_sums) return Pieces<kEverySum, false, false>(job, geometry, begin, end, to);
    return Pieces<kActivitySums, false, false>(job, geometry, begin, end, to);
  }
  if (job.residual != nullptr) {
    if (!job.sums) return Pieces<kNoSums, true, true>(job, geometry, begin, end, to);
    if (job.all_sums) return Pieces<kEverySum, true, true>(job, geometry, begin, end, to);
    return Pieces<kActivitySums, true, true>(job, geometry, begin, end, to);
  }
  if (!job.sums) return Pieces<kNoSums, false, true>(job, geometry, begin, end, to);
  if (job.all_sums) return Pieces<kEverySum, false, true>(job, geometry, begin, end, to);
  return Pieces<kActivitySums, false, true>(job, geometry, begin, end, to);
}

void EpiloguePart(const EpilogueJob<float, float>& job, const Geometry& geometry, int64_t begin, int64_t end,
                  const SumArrays& to) {
  Part(job, geometry, begin, end, to);
}
void NarrowingPart(const EpilogueJob<float, BFloat16>& job, const Geometry& geometry, int64_t begin, int64_t end,
                   const SumArrays& to) {
  Part(job, geometry, begin, end, to);
}
void Bf16Part(const EpilogueJob<BFloat16, BFloat16>& job, const Geometry& geometry, int64_t begin, int64_t end,
              const SumArrays& to) {
  Part(job, geometry, begin, end, to);
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

HWY_EXPORT(EpiloguePart);
HWY_EXPORT(NarrowingPart);
HWY_EXPORT(Bf16Part);

void run_part(const EpilogueJob<float, float>& job, const Geometry& g, int64_t begin, int64_t end, const SumArrays& to) {
  HWY_DYNAMIC_DISPATCH(EpiloguePart)(job, g, begin, end, to);
}
void run_part(const EpilogueJob<float, BFloat16>& job, const Geometry& g, int64_t begin, int64_t end, const SumArrays& to) {
  HWY_DYNAMIC_DISPATCH(NarrowingPart)(job, g, begin, end, to);
}
void run_part(const EpilogueJob<BFloat16, BFloat16>& job, const Geometry& g, int64_t begin, int64_t end, const SumArrays& to) {
  HWY_DYNAMIC_DISPATCH(Bf16Part)(job, g, begin, end, to);
}

/// NHWC as if a sample were fewer rows of pixels, so that all channels of a row are read while it is in the cache: a watched
/// ResNet-50 in bf16, one image, takes 10 % less. Rows of all samples lie one after the other, so any divisor will do.
Geometry in_runs_of_rows(Geometry g) {
  constexpr int64_t kMostRows = 128, kLeastRows = 16;  // a run's sums are joined in double, which more runs pay for
  const int64_t rows = g.samples * g.positions;
  for (int64_t run = kMostRows; run >= kLeastRows; --run) {
    if (rows % run != 0) continue;
    g.samples = rows / run;
    g.positions = run;
    g.sample_stride = g.pitch * run;
    break;
  }
  return g;
}

template <typename Z, typename Y>
void run(EpilogueJob<Z, Y> job, const ActivationView<Y>& view, const ChannelSums* sums, uint32_t sets, bool count_nonfinite,
         int threads) {
  Geometry geometry(view);
  if (geometry.interleaved && (sets & kPerSample) == 0) geometry = in_runs_of_rows(geometry);
  job.sums = sums != nullptr;
  job.all_sums = (sets & ~uint32_t{kActivity | kPerSample}) != 0;
  if (sums != nullptr) job.threshold = sums->threshold;
  const int64_t total = geometry.tasks() * geometry.positions;
  if (total == 0) return;
  const int64_t grain = (sets & kPerSample) != 0 ? geometry.positions : kLanes;
  const int parts = parts_for(geometry.elements(), threads, sums != nullptr ? sums->threads : 1 << 16);
  for_parts(parts, [&](int part) {
    const SumArrays to = sums != nullptr ? only_sets(sums->of_thread(part), sets, count_nonfinite) : SumArrays{};
    run_part(job, geometry, part_begin(total, parts, part, grain), part_begin(total, parts, part + 1, grain), to);
  });
}

template <typename T>
void check_sums(const ChannelSums& sums, const ActivationView<T>& y, const char* op) {
  ELEK_CHECK(sums.channels == y.shape.channels && sums.block != nullptr,
             std::string(op) + ": the sums are laid out for " + std::to_string(sums.channels) + " channels, the value has " +
                 std::to_string(y.shape.channels));
}

}  // namespace

template <typename Z, typename Y>
void run_epilogue(const Epilogue<Z, Y>& e, int threads) {
  check_view(e.z, "epilogue", "z");
  check_view(e.y, "epilogue", "y");
  check_same(e.z, e.y, "epilogue", "y");
  if (e.sums != nullptr) check_sums(*e.sums, e.y, "epilogue");
  EpilogueJob<Z, Y> job;
  job.z = e.z.data;
  job.residual = e.residual;
  job.y = e.y.data;
  job.scale = e.scale;
  job.shift = e.shift;
  job.lowest = e.activation == Activation::kRelu ? 0.0F : -std::numeric_limits<float>::infinity();
  run(job, e.y, e.sums, e.sums != nullptr ? e.sums->sums : 0, true, threads);
}

template <typename T>
void observe(const ActivationView<T>& y, const ChannelSums& sums, int threads, uint32_t only) {
  check_view(y, "observe", "value");
  check_sums(sums, y, "observe");
  EpilogueJob<T, T> job;
  job.y = y.data;
  run(job, y, &sums, sums.sums & only & ~uint32_t{kMoments}, only == kAllSums, threads);
}

template void run_epilogue(const Epilogue<float, float>&, int);
template void run_epilogue(const Epilogue<float, BFloat16>&, int);
template void run_epilogue(const Epilogue<BFloat16, BFloat16>&, int);
template void observe(const ActivationView<float>&, const ChannelSums&, int, uint32_t);
template void observe(const ActivationView<BFloat16>&, const ChannelSums&, int, uint32_t);

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
