// SPDX-License-Identifier: Apache-2.0
// See epilogue.h. This file is compiled once per Highway target (foreach_target.h), and the plain code below HWY_ONCE once. The
// inner loop knows only lanes; walk.h assigns channels to lanes.
#include "kernels/cpu/epilogue.h"

#include <limits>
#include <string>

#include "kernels/cpu/detail/lane_sums.h"
#include "kernels/cpu/detail/observe.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/targets.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/stored_types.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/epilogue.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "core/error.h"
#include "kernels/cpu/detail/activation-inl.h"
#include "kernels/cpu/detail/flush-inl.h"
#include "kernels/cpu/detail/register_sums-inl.h"
#include "kernels/cpu/detail/stored-inl.h"

#ifndef ELEK_KERNELS_CPU_EPILOGUE_JOB
#define ELEK_KERNELS_CPU_EPILOGUE_JOB
namespace elek::kernels::cpu {
/// The arguments of one call. All parts (threads) read them.
template <typename Z, typename Y>
struct EpilogueJob {
  const Z* z = nullptr;  // null = read-only form: y is already stored
  const Y* residual = nullptr;
  Y* y = nullptr;
  const float* scale = nullptr;
  const float* shift = nullptr;
  float lowest = 0.0F;    // below it, 0 is stored: 0 for ReLU, -infinity for no activation
  Activation activation;  // any other activation
  float threshold = 0.0F;
  Observe observe = Observe::kNothing;
};
}  // namespace elek::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The inner loop: lanes [lane, lane + Lanes(d)) of up to kBlockRows rows.
/// kOther: the activation is neither none nor ReLU. Those two have their own code, because most steps use them.
template <class D, Observe kMode, bool kResidual, bool kStore, bool kOther, typename Z, typename Y>
struct Column {
  using V = hn::Vec<D>;
  static constexpr int64_t kChains = kMode == Observe::kAll ? 2 : 4;
  static constexpr int64_t kChainTerms = 8;  // docs/statistics.md derives the bound from these two
  static constexpr int64_t kBlockRows = kChains * kChainTerms;
  static constexpr bool kKeepZ = kMode == Observe::kAll && kStore;  // y may overwrite z: kept to sum a block again

  const EpilogueJob<Z, Y>& job;
  const D d;
  const V scale, shift, lowest, threshold;
  const int lane;
  const int valid;  // lanes that are channels; padding stays zero even if act(0) is not 0
  LaneSums& out;

  HWY_INLINE Column(const EpilogueJob<Z, Y>& j, D tag, const float* HWY_RESTRICT lane_scale,
                    const float* HWY_RESTRICT lane_shift, int first_lane, int valid_lanes, LaneSums& sums)
      : job(j),
        d(tag),
        scale(hn::LoadU(tag, lane_scale + first_lane)),
        shift(hn::LoadU(tag, lane_shift + first_lane)),
        lowest(hn::Set(tag, j.lowest)),
        threshold(hn::Set(tag, j.threshold)),
        lane(first_lane),
        valid(HWY_MAX(valid_lanes - first_lane, 0)),
        out(sums) {}

  HWY_INLINE V preactivation(int64_t at) const {
    if constexpr (!kStore) return load_stored(d, job.y + at);
    return hn::MulAdd(load_stored(d, job.z + at), scale, shift);
  }
  HWY_INLINE V stored(V z, int64_t at) const {
    if constexpr (!kStore) return z;
    V v = z;
    if constexpr (kResidual) v = hn::Add(v, load_stored(d, job.residual + at));
    if constexpr (kOther) {
      v = hn::IfThenElseZero(hn::FirstN(d, static_cast<size_t>(valid)), activate(d, v, job.activation));
    } else {
      v = hn::IfThenZeroElse(hn::Lt(v, lowest), v);  // not Max: NaN stays NaN
    }
    return rounded_to<Y>(d, v);
  }
  HWY_INLINE void put(V z, V y, int64_t at, float* HWY_RESTRICT kept_z) const {
    if constexpr (kStore) store_rounded(y, d, job.y + at);
    if constexpr (kKeepZ) hn::Store(z, d, kept_z);
    (void)z, (void)y, (void)at, (void)kept_z;
  }

  HWY_INLINE void block(int64_t offset, int64_t rows, int64_t stride) const {
    constexpr int64_t kN = static_cast<int64_t>(hn::MaxLanes(D()));
    HWY_ALIGN float kept_z[kKeepZ ? kBlockRows * kN : 1];
    RegisterSums<D, kMode> a(d), b(d), c(d), e(d);
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
        c.add(d, z2, y2, threshold);
        e.add(d, z3, y3, threshold);
      }
      put(z0, y0, at, kept);
      put(z1, y1, at + stride, kept + (kKeepZ ? kN : 0));
      a.add(d, z0, y0, threshold);
      b.add(d, z1, y1, threshold);
      kept += kKeepZ ? 2 * kN : 0;
    }
    for (int64_t left = 0; r < rows; ++r, ++left, at += stride) {  // fewer than kChains rows: one per chain
      const V z0 = preactivation(at), y0 = stored(z0, at);
      put(z0, y0, at, kept);
      if (left == 0) a.add(d, z0, y0, threshold);
      if (left == 1) b.add(d, z0, y0, threshold);
      if (left == 2) c.add(d, z0, y0, threshold);
    }
    if constexpr (kMode != Observe::kNothing) {
      a.join(b);
      if constexpr (kChains == 4) {
        c.join(e);
        a.join(c);
      }
      flush(a, offset, rows, stride, kept_z);
    }
  }

  HWY_INLINE void flush(const RegisterSums<D, kMode>& chain, int64_t offset, int64_t rows, int64_t stride,
                        const float* kept_z) const {
    if (HWY_UNLIKELY(!chain.finite(d))) {
      constexpr int64_t kN = static_cast<int64_t>(hn::MaxLanes(D()));
      redo_block(job.y + offset + lane, stride, kKeepZ ? kept_z : nullptr, kN, rows, job.threshold, lane, static_cast<int>(kN),
                 out);
      return;
    }
    add_to(d, chain.sum, out.sum + lane);
    add_to(d, chain.sum_sq, out.sum_sq + lane);
    const hn::RebindToSigned<D> di;
    hn::StoreU(hn::Add(hn::LoadU(di, out.active + lane), chain.active), di, out.active + lane);
    if constexpr (kMode == Observe::kAll) {
      add_to(d, chain.abs_sum, out.abs_sum + lane);
      // Not Max: it could lose a NaN that an earlier block left in out.max.
      const V kept = hn::LoadU(d, out.max + lane);
      hn::StoreU(hn::IfThenElse(hn::Gt(chain.max, kept), chain.max, kept), d, out.max + lane);
    }
    if constexpr (kKeepZ) {
      add_to(d, chain.z_sum, out.z_sum + lane);
      add_to(d, chain.z_sum_sq, out.z_sum_sq + lane);
    }
  }
};

/// `rows` rows of `width` lanes. The outer loop goes over blocks of rows, so that a block stays in the L1 cache for all its
/// columns.
template <Observe kMode, bool kResidual, bool kStore, bool kOther, typename Z, typename Y>
HWY_INLINE void finish_rows(const EpilogueJob<Z, Y>& job, int64_t offset, int64_t rows, int64_t stride, int width, int valid,
                            const float* scale, const float* shift, LaneSums& out) {
  const hn::CappedTag<float, kLanes> wide;
  const hn::CappedTag<float, kLanes / 2> half;
  const hn::CappedTag<float, 1> one;
  using Wide = Column<decltype(wide), kMode, kResidual, kStore, kOther, Z, Y>;
  constexpr int64_t kBlockRows = Wide::kBlockRows;
  constexpr int kWide = static_cast<int>(hn::MaxLanes(decltype(wide)())),
                kHalf = static_cast<int>(hn::MaxLanes(decltype(half)()));
  if (width == kLanes && kWide == kLanes) {  // one vector is one row: the usual case
    const Wide column(job, wide, scale, shift, 0, valid, out);
    for (int64_t r = 0; r < rows; r += kBlockRows) column.block(offset + r * stride, HWY_MIN(kBlockRows, rows - r), stride);
    return;
  }
  for (int64_t r = 0; r < rows; r += kBlockRows) {
    const int64_t at = offset + r * stride, count = HWY_MIN(kBlockRows, rows - r);
    int lane = 0;
    for (; lane + kHalf <= width; lane += kHalf) {
      Column<decltype(half), kMode, kResidual, kStore, kOther, Z, Y>(job, half, scale, shift, lane, valid, out)
          .block(at, count, stride);
    }
    for (; lane < width; ++lane) {
      Column<decltype(one), kMode, kResidual, kStore, kOther, Z, Y>(job, one, scale, shift, lane, valid, out)
          .block(at, count, stride);
    }
  }
}

template <Observe kMode, bool kResidual, bool kStore, bool kOther, typename Z, typename Y>
void finish_pieces(const EpilogueJob<Z, Y>& job, const Geometry& geometry, int64_t begin, int64_t end, const SumArrays& to) {
  PieceWalk walk(geometry, begin, end);
  Piece piece;
  while (walk.next(piece)) {
    HWY_ALIGN float scale[kLanes] = {};  // padding lanes: 0 * z + 0
    HWY_ALIGN float shift[kLanes] = {};
    const int valid = piece.one_channel ? kLanes : piece.valid;
    for (int l = 0; l < valid; ++l) {
      const int64_t c = piece.channel + (piece.one_channel ? 0 : l);
      scale[l] = job.scale != nullptr ? job.scale[c] : 1.0F;
      shift[l] = job.shift != nullptr ? job.shift[c] : 0.0F;
    }
    LaneSums sums;
    finish_rows<kMode, kResidual, kStore, kOther>(job, piece.offset, piece.rows, piece.row_stride, piece.width, valid, scale,
                                                  shift, sums);
    if (piece.tail > 0) {
      finish_rows<kMode, kResidual, kStore, kOther>(job, piece.offset + piece.rows * kLanes, 1, kLanes, piece.tail, valid,
                                                    scale, shift, sums);
    }
    if constexpr (kMode != Observe::kNothing) fold(sums, piece, geometry.positions, to);
  }
}

template <bool kResidual, bool kStore, typename Z, typename Y>
HWY_INLINE void with_mode(const EpilogueJob<Z, Y>& job, const Geometry& geometry, int64_t begin, int64_t end,
                          const SumArrays& to) {
  switch (job.observe) {
    case Observe::kNothing:
      if constexpr (kStore) finish_pieces<Observe::kNothing, kResidual, kStore, false>(job, geometry, begin, end, to);
      return;
    case Observe::kActivity:
      return finish_pieces<Observe::kActivity, kResidual, kStore, false>(job, geometry, begin, end, to);
    case Observe::kAll:
      return finish_pieces<Observe::kAll, kResidual, kStore, false>(job, geometry, begin, end, to);
  }
}

/// Takes all sums, even if only some are needed: this is less code.
template <bool kResidual, typename Z, typename Y>
HWY_INLINE void with_other_activation(const EpilogueJob<Z, Y>& job, const Geometry& geometry, int64_t begin, int64_t end,
                                      const SumArrays& to) {
  if (job.observe == Observe::kNothing) {
    return finish_pieces<Observe::kNothing, kResidual, true, true>(job, geometry, begin, end, to);
  }
  finish_pieces<Observe::kAll, kResidual, true, true>(job, geometry, begin, end, to);
}

template <typename Z, typename Y>
HWY_INLINE void finish_part(const EpilogueJob<Z, Y>& job, const Geometry& geometry, int64_t begin, int64_t end,
                            const SumArrays& to) {
  if (job.z == nullptr) return with_mode<false, false>(job, geometry, begin, end, to);
  if (!job.activation.is_none()) {
    if (job.residual != nullptr) return with_other_activation<true>(job, geometry, begin, end, to);
    return with_other_activation<false>(job, geometry, begin, end, to);
  }
  if (job.residual != nullptr) return with_mode<true, true>(job, geometry, begin, end, to);
  return with_mode<false, true>(job, geometry, begin, end, to);
}

#define ELEK_PART(T, suffix, dtype)                                                                             \
  void finish_part_##suffix(const EpilogueJob<T, T>& job, const Geometry& geometry, int64_t begin, int64_t end, \
                            const SumArrays& to) {                                                              \
    finish_part(job, geometry, begin, end, to);                                                                 \
  }
ELEK_STORED_TYPES(ELEK_PART)
#undef ELEK_PART
#define ELEK_PART(T, suffix, dtype)                                                                                 \
  void narrow_part_##suffix(const EpilogueJob<float, T>& job, const Geometry& geometry, int64_t begin, int64_t end, \
                            const SumArrays& to) {                                                                  \
    finish_part(job, geometry, begin, end, to);                                                                     \
  }
ELEK_NARROW_TYPES(ELEK_PART)
#undef ELEK_PART

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
namespace {

#define ELEK_RUN(T, suffix, dtype)                                                                                  \
  HWY_EXPORT(finish_part_##suffix);                                                                                 \
  void run_part(const EpilogueJob<T, T>& job, const Geometry& g, int64_t begin, int64_t end, const SumArrays& to) { \
    HWY_DYNAMIC_DISPATCH(finish_part_##suffix)(job, g, begin, end, to);                                             \
  }
ELEK_STORED_TYPES(ELEK_RUN)
#undef ELEK_RUN
#define ELEK_RUN(T, suffix, dtype)                                                                                      \
  HWY_EXPORT(narrow_part_##suffix);                                                                                     \
  void run_part(const EpilogueJob<float, T>& job, const Geometry& g, int64_t begin, int64_t end, const SumArrays& to) { \
    HWY_DYNAMIC_DISPATCH(narrow_part_##suffix)(job, g, begin, end, to);                                                 \
  }
ELEK_NARROW_TYPES(ELEK_RUN)
#undef ELEK_RUN

/// Divides NHWC activations into short runs of rows, as if each run were a sample, so that all channels of a row are read while
/// it is in the cache. A watched ResNet-50 in bf16 then takes 10 % less time (one image). The rows of all samples lie one after
/// the other, so the length of a run may be any divisor of their number.
Geometry in_runs_of_rows(Geometry g) {
  constexpr int64_t kMostRows = 128, kLeastRows = 16;  // each run's sums are added in double, so short runs cost more
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
void run(EpilogueJob<Z, Y> job, const ActivationView<Y>& view, const ChannelSums* sums, uint32_t sets, Nonfinite nonfinite,
         int threads) {
  Geometry geometry(view);
  if (geometry.interleaved && (sets & kPerSample) == 0) geometry = in_runs_of_rows(geometry);
  if (sums != nullptr) {
    job.observe = observe_for(sets);
    job.threshold = sums->threshold;
  }
  const int64_t total = geometry.tasks() * geometry.positions;
  if (total == 0) return;
  const int64_t grain = (sets & kPerSample) != 0 ? geometry.positions : kLanes;
  const int parts = parts_for(geometry.elements(), threads, sums != nullptr ? sums->threads : 1 << 16);
  for_parts(parts, [&](int part) {
    const SumArrays to = sums != nullptr ? only_sets(sums->of_thread(part), sets, nonfinite) : SumArrays{};
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
  job.lowest = e.activation.is_relu() ? 0.0F : -std::numeric_limits<float>::infinity();
  if (!e.activation.is_plain()) job.activation = e.activation;
  run(job, e.y, e.sums, e.sums != nullptr ? e.sums->sums : 0, Nonfinite::kCount, threads);
}

template <typename T>
void observe(const ActivationView<T>& y, const ChannelSums& sums, int threads, uint32_t only) {
  check_view(y, "observe", "value");
  check_sums(sums, y, "observe");
  EpilogueJob<T, T> job;
  job.y = y.data;
  const Nonfinite nonfinite = only == kAllSums ? Nonfinite::kCount : Nonfinite::kLeave;
  run(job, y, &sums, sums.sums & only & ~uint32_t{kMoments}, nonfinite, threads);
}

#define ELEK_INSTANTIATE(T, suffix, dtype)                \
  template void run_epilogue(const Epilogue<T, T>&, int); \
  template void observe(const ActivationView<T>&, const ChannelSums&, int, uint32_t);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE
#define ELEK_INSTANTIATE(T, suffix, dtype) template void run_epilogue(const Epilogue<float, T>&, int);
ELEK_NARROW_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
