// SPDX-License-Identifier: Apache-2.0
// The kernel of narrow_conv. Google Highway compiles this file once per instruction set. VNNI is an extension of AVX-512, so
// the AVX3 code has both forms: Highway 1.0's own target with VNNI is compiled for another extension (AVX-VNNI) by mistake.
// Tests: tests/kernels/narrow_conv_test.cpp
#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/narrow_conv_simd.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "kernels/cpu/detail/narrow_units.h"
#include "kernels/cpu/detail/panel_product-inl.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/register_sums-inl.h"
#include "kernels/cpu/detail/stored-inl.h"
#include "kernels/cpu/narrow_conv.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Values of a word.
template <Multiply kMultiply>
constexpr int kValuesOf = kMultiply == Multiply::kVnni ? 4 : 2;

/// sum += the products of the values in each word of x and w, added. kVnni: x without sign, w with. kBf16: the sum is f32.
template <Multiply kMultiply, class D>
HWY_INLINE hn::Vec<D> add_products([[maybe_unused]] D d, hn::Vec<D> sum, hn::Vec<D> x, hn::Vec<D> w) {
#if HWY_TARGET == HWY_AVX3  // asm, because an intrinsic wants all code around it compiled for its extension
  if constexpr (kMultiply == Multiply::kVnni) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(w.raw));
    return sum;
  }
  if constexpr (kMultiply == Multiply::kBf16) {
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum.raw) : "v"(x.raw), "v"(w.raw));
    return sum;
  }
#endif
#if HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
  const hn::Repartition<int16_t, D> d16;
  auto unused = hn::Zero(d);
  return hn::ReorderWidenMulAccumulate(d, hn::BitCast(d16, x), hn::BitCast(d16, w), sum, unused);
#elif HWY_TARGET == HWY_NEON
  const int16x8_t a = vreinterpretq_s16_s32(x.raw), b = vreinterpretq_s16_s32(w.raw);
  const int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_s16(vget_high_s16(a), vget_high_s16(b));
  return hn::Vec<D>{vaddq_s32(sum.raw, vcombine_s32(vpadd_s32(vget_low_s32(low), vget_high_s32(low)),
                                                    vpadd_s32(vget_low_s32(high), vget_high_s32(high))))};
#else  // the halves of a word: shifted to its end with their sign
  const auto upper = [](hn::Vec<D> v) HWY_ATTR { return hn::ShiftRight<16>(v); };
  const auto lower = [&](hn::Vec<D> v) HWY_ATTR { return hn::ShiftRight<16>(hn::ShiftLeft<16>(v)); };
  return hn::Add(sum, hn::Add(hn::Mul(upper(x), upper(w)), hn::Mul(lower(x), lower(w))));
#endif
}

/// Loads values stored in either form, as f32. The branches are the same for a whole call, so they are predicted.
template <class D>
HWY_INLINE hn::Vec<D> load_as(D d, const void* from, int64_t index, const StoredAs& stored, hn::Vec<D> scale) {
  const hn::RebindToSigned<D> di;
  switch (stored.type) {
    case DType::kU8: {
      const hn::Rebind<uint8_t, D> du8;
      return hn::Mul(hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(du8, static_cast<const uint8_t*>(from) + index))), scale);
    }
    case DType::kI8: {
      const hn::Rebind<int8_t, D> di8;
      return hn::Mul(hn::ConvertTo(d, hn::PromoteTo(di, hn::LoadU(di8, static_cast<const int8_t*>(from) + index))), scale);
    }
    case DType::kBF16:
      return load_stored(d, static_cast<const BFloat16*>(from) + index);
    default:
      return hn::LoadU(d, static_cast<const float*>(from) + index);
  }
}

/// A grid as the kernels use it: q = round(value * inverse), clamped. NaN becomes the lowest.
template <class D>
struct Grid {
  hn::Vec<D> scale, inverse, lowest, highest;
  HWY_INLINE Grid(D d, float step, bool is_signed)
      : scale(hn::Set(d, step)),
        inverse(hn::Set(d, 1.0F / step)),
        lowest(hn::Set(d, is_signed ? -128.0F : 0.0F)),
        highest(hn::Set(d, is_signed ? 127.0F : 255.0F)) {}
  [[nodiscard]] HWY_INLINE hn::Vec<hn::RebindToSigned<D>> round(hn::Vec<D> value) const {
    const hn::Vec<D> steps = hn::Mul(value, inverse);
    return hn::NearestInt(hn::Min(hn::IfThenElse(hn::Gt(steps, lowest), steps, lowest), highest));
  }
};

/// Where a panel's results go: `pixels` pixels of y from at[v] on, for each vector v of output channels from `channel` on.
struct Results {
  int64_t pixels;
  int64_t at[2];
  int64_t channel;
  const float* scales;      // [2 vectors]
  const SumArrays* totals;  // of this thread, for the first and the second vector
};

/// Stores a vector of results, rounded to the grid if there is one. Returns the stored value.
template <class D, class G>
HWY_INLINE hn::Vec<D> store_result(D d, const NarrowConvArgs& args, const G& grid, hn::Vec<D> value, int64_t to) {
  if (!args.y_scale) {
    if (args.y_stored.type == DType::kBF16) {
      value = rounded_to<BFloat16>(d, value);
      store_rounded(value, d, static_cast<BFloat16*>(args.y) + to);
    } else {
      hn::StoreU(value, d, static_cast<float*>(args.y) + to);
    }
    return value;
  }
  const auto q = grid.round(value);
  const hn::Vec<D> rounded = hn::Mul(hn::ConvertTo(d, q), grid.scale);
  switch (args.y_stored.type) {
    case DType::kU8: {
      const hn::Rebind<uint8_t, D> du8;
      hn::StoreU(hn::DemoteTo(du8, q), du8, static_cast<uint8_t*>(args.y) + to);
      break;
    }
    case DType::kI8: {
      const hn::Rebind<int8_t, D> di8;
      hn::StoreU(hn::DemoteTo(di8, q), di8, static_cast<int8_t*>(args.y) + to);
      break;
    }
    default:
      hn::StoreU(rounded, d, static_cast<float*>(args.y) + to);
  }
  return rounded;
}

/// The epilogue of a panel. Shapes: m [v][kPanelRows][L] sums of products; afterwards the stored values if they are summed.
template <int kVectors, int kBlock, Multiply kMultiply, Observe kObserve>
HWY_INLINE void finish_panel(const NarrowConvArgs& args, const Results& out, int32_t* HWY_RESTRICT m) {
  const hn::CappedTag<float, kBlock> d;
  const hn::RebindToSigned<decltype(d)> di;
  using V = hn::Vec<decltype(d)>;
  using Sums = RegisterSums<decltype(d), kObserve>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const V zero = hn::Zero(d);
  const V threshold = hn::Set(d, kObserve != Observe::kNothing ? args.sums->threshold : 0.0F);
  const V residual_scale = hn::Set(d, args.residual_stored.scale);
  const Grid<decltype(d)> grid(d, args.y_scale.value_or(1.0F), args.y_signed);
  const bool relu = args.activation.is_relu(), clips = !args.activation.is_plain();
  HWY_ALIGN float stored[kObserve == Observe::kNothing ? 1 : kPanelRows * HWY_MAX_BYTES / sizeof(float)];
  const auto finish_vector = [&](int v) HWY_ATTR {
    const V bias = hn::Load(d, args.bias + out.channel + v * lanes), scale = hn::Load(d, out.scales + v * lanes);
    Sums sums(d);
    for (int64_t r = 0; r < out.pixels; ++r) {
      const int64_t to = out.at[v] + r * kBlock;
      const auto sum = hn::Load(di, m + (v * kPanelRows + r) * lanes);
      V z = bias;
      if constexpr (kMultiply == Multiply::kBf16) {
        z = hn::Add(hn::BitCast(d, sum), bias);
      } else {
        z = hn::MulAdd(hn::ConvertTo(d, sum), scale, bias);
      }
      V value = z;
      if (args.residual != nullptr) value = hn::Add(value, load_as(d, args.residual, to, args.residual_stored, residual_scale));
      if (relu) value = hn::IfThenElse(hn::Lt(value, zero), zero, value);  // not Max: NaN stays NaN
      if (clips) {
        const V low = hn::Set(d, args.activation.lowest()), high = hn::Set(d, args.activation.highest());
        value = hn::IfThenElse(hn::Lt(value, low), low, hn::IfThenElse(hn::Gt(value, high), high, value));
      }
      value = store_result(d, args, grid, value, to);
      if constexpr (kObserve != Observe::kNothing) {
        sums.add(d, z, value, threshold);
        hn::Store(value, d, stored + r * lanes);
      }
    }
    if constexpr (kObserve != Observe::kNothing) {
      add_all_to(d, sums, out.totals[v], {stored, 1, static_cast<int>(out.pixels), 0, lanes});
    }
  };
  finish_vector(0);
  if constexpr (kVectors == 2) finish_vector(1);
}

/// What a panel multiplies. Distances in words.
struct NarrowOperands {
  const int32_t* x;        // word 0 of the first pixel, tap 0, channel block 0
  const int32_t* weights;  // of the group: [taps][words][2 vectors]
  const int32_t* start;    // [2 vectors]
  int64_t plane;           // between channel blocks
  int64_t words;           // of a pixel
  const int64_t* taps;     // distance of each tap from tap 0
  int64_t tap_count;
};

/// Writes the sums to m, [v][kPanelRows][L].
template <int kPixels, int kVectors, int kBlock, Multiply kMultiply>
HWY_NOINLINE void multiply_panel(const NarrowOperands& o, int32_t* HWY_RESTRICT m) {
  const hn::CappedTag<int32_t, kBlock> d;
  constexpr int64_t kPixelWords = kBlock / kValuesOf<kMultiply>;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  hn::Vec<decltype(d)> acc[kVectors][kPixels];
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 14
    for (int r = 0; r < kPixels; ++r) acc[v][r] = hn::Load(d, o.start + v * lanes);
  const int32_t* HWY_RESTRICT u = o.weights;
  for (int64_t tap = 0; tap < o.tap_count; ++tap) {
    const int32_t* block = o.x + o.taps[tap];
    for (int64_t left = o.words; left > 0; left -= kPixelWords, block += o.plane) {
      const int64_t words = std::min(left, kPixelWords);
      for (int64_t word = 0; word < words; ++word, u += 2 * lanes) {
        hn::Vec<decltype(d)> w[kVectors];
#pragma GCC unroll 2
        for (int v = 0; v < kVectors; ++v) w[v] = hn::Load(d, u + v * lanes);
#pragma GCC unroll 14
        for (int r = 0; r < kPixels; ++r) {
          const auto x = hn::Set(d, block[r * kPixelWords + word]);
#pragma GCC unroll 2
          for (int v = 0; v < kVectors; ++v) acc[v][r] = add_products<kMultiply>(d, acc[v][r], x, w[v]);
        }
      }
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v)
#pragma GCC unroll 14
    for (int r = 0; r < kPixels; ++r) hn::Store(acc[v][r], d, m + (v * kPanelRows + r) * lanes);
}

template <int kVectors, int kBlock, Multiply kMultiply, Observe kObserve>
HWY_NOINLINE void convolve_panel(const NarrowOperands& o, const NarrowConvArgs& args, const Results& out) {
  HWY_ALIGN int32_t m[2 * kPanelRows * HWY_MAX_BYTES / sizeof(int32_t)];
  with_constant<kPanelRows>(out.pixels - 1, [&](auto i) HWY_ATTR { multiply_panel<i + 1, kVectors, kBlock, kMultiply>(o, m); });
  finish_panel<kVectors, kBlock, kMultiply, kObserve>(args, out, m);
}

/// Copies pixels of one channel block into the form that is multiplied: bytes without sign, or 16-bit integers.
template <int kBlock, Multiply kMultiply>
class Stager {
  static constexpr bool kBytes = kMultiply == Multiply::kVnni;
  static constexpr int64_t kPixelBytes = kBlock / kValuesOf<kMultiply> * int64_t{sizeof(int32_t)};

 public:
  explicit Stager(const NarrowConvProblem& p) : p_(p), grid_(d_, p.x_scale, p.x_signed) {}
  /// `count` pixels from `from` on, one after the other, to places `step` words apart.
  HWY_INLINE void copy(int64_t from, int64_t count, int32_t* to, int64_t step) const {
    if (kMultiply == Multiply::kBf16 || (kBytes && p_.x_type == DType::kU8)) {  // as it is
      const std::byte* const x = static_cast<const std::byte*>(x_) + from / kBlock * kPixelBytes;
      for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * step, x + i * kPixelBytes, kPixelBytes);
      return;
    }
    for (int64_t i = 0; i < count; ++i)
      for (int64_t c = 0; c < kBlock; c += lanes_) store(integers(from + i * kBlock + c), to + i * step, c);
  }
  /// Zeros, as the kernel reads them.
  HWY_INLINE void pad(int64_t count, int32_t* to, int64_t step) const {
    const int byte = kBytes && p_.x_signed ? 128 : 0;
    for (int64_t i = 0; i < count; ++i) std::memset(to + i * step, byte, kPixelBytes);
  }
  void read_from(const void* x) { x_ = x; }
  /// One word of each of L neighbouring pixels of plain input, of which `count` are there: the values of channels `channel` and
  /// those after it, `plane` elements apart.
  HWY_INLINE void plain_words(int64_t from, int64_t plane, int64_t channel, int64_t count, int32_t* HWY_RESTRICT words) const {
    constexpr int kBits = 32 / kValuesOf<kMultiply>;
    const DI di;
    auto word = hn::Zero(di);
    for (int j = 0; j < kValuesOf<kMultiply> && channel + j < p_.channels; ++j) {
      const auto bits =
          hn::And(plain(from + (channel + j) * plane, count), hn::Set(di, static_cast<int32_t>((int64_t{1} << kBits) - 1)));
      word = hn::Or(word, hn::ShiftLeftSame(bits, j * kBits));
    }
    hn::StoreU(word, di, words);
  }

 private:
  using D = hn::CappedTag<float, kBlock>;
  using DI = hn::RebindToSigned<D>;
  [[nodiscard]] HWY_INLINE hn::Vec<DI> integers(int64_t index) const {
    switch (p_.x_type) {
      case DType::kU8: {
        const hn::Rebind<uint8_t, D> du8;
        return hn::PromoteTo(DI(), hn::LoadU(du8, static_cast<const uint8_t*>(x_) + index));
      }
      case DType::kI8: {
        const hn::Rebind<int8_t, D> di8;
        return hn::PromoteTo(DI(), hn::LoadU(di8, static_cast<const int8_t*>(x_) + index));
      }
      default:
        return grid_.round(hn::LoadU(d_, static_cast<const float*>(x_) + index));
    }
  }
  /// `count` neighbouring values, as they are staged. Reads no value behind them.
  [[nodiscard]] HWY_INLINE hn::Vec<DI> plain(int64_t index, int64_t count) const {
    if constexpr (kMultiply == Multiply::kBf16) {
      HWY_ALIGN uint16_t tail[HWY_MAX_BYTES / sizeof(float)] = {};
      std::memcpy(tail, static_cast<const BFloat16*>(x_) + index, static_cast<size_t>(count) * sizeof(BFloat16));
      return hn::PromoteTo(DI(), hn::LoadU(hn::Rebind<uint16_t, D>(), tail));
    } else {
      HWY_ALIGN float tail[HWY_MAX_BYTES / sizeof(float)] = {};
      std::memcpy(tail, static_cast<const float*>(x_) + index, static_cast<size_t>(count) * sizeof(float));
      auto q = grid_.round(hn::LoadU(d_, tail));
      if (kBytes && p_.x_signed) q = hn::Add(q, hn::Set(DI(), 128));
      return q;
    }
  }
  HWY_INLINE void store(hn::Vec<DI> q, int32_t* to, int64_t c) const {
    if constexpr (kBytes) {
      const hn::Rebind<uint8_t, D> du8;
      if (p_.x_signed) q = hn::Add(q, hn::Set(DI(), 128));
      hn::StoreU(hn::DemoteTo(du8, q), du8, reinterpret_cast<uint8_t*>(to) + c);
    } else {
      const hn::Rebind<int16_t, D> di16;
      hn::StoreU(hn::DemoteTo(di16, q), di16, reinterpret_cast<int16_t*>(to) + c);
    }
  }
  const NarrowConvProblem& p_;
  const D d_{};
  const int64_t lanes_ = static_cast<int64_t>(hn::Lanes(D()));
  const Grid<D> grid_;
  const void* x_ = nullptr;
};

/// Whether some tap of some output reads a padded row (column) of this remainder.
inline bool is_read(int64_t position, int64_t taps, int64_t dilation, int64_t stride) {
  for (int64_t tap = 0; tap < taps; ++tap) {
    if ((position - tap * dilation) % stride == 0) return true;
  }
  return false;
}

/// The work of one part.
template <int kBlock, Multiply kMultiply, Observe kObserve>
struct Worker {
  const NarrowConvPlan& plan;
  const NarrowConvArgs& args;
  const int part;
  int32_t* const scratch;
  const int64_t* const taps;
  const NarrowConvProblem& p = plan.problem;
  const hn::CappedTag<int32_t, kBlock> d{};
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t blocks = padded_channels(p.layout, p.channels) / kBlock;
  const int64_t out_blocks = padded_channels(p.layout, p.out_channels) / kBlock;
  const int64_t out_pixels = plan.out_height * plan.out_width, in_pixels = p.height * p.width;
  const int64_t group_words = detail::narrow_group_words(plan, lanes);
  const int64_t row_words = p.stride.width * plan.staged_columns * plan.pixel_words;
  const int64_t staged_plane = plan.staged_rows * row_words;
  Stager<kBlock, kMultiply> stager{plan.problem};

  /// Copies the rows that a unit reads: [sample][channel block][row][phase of the column][column][channel]. Columns that are a
  /// stride apart lie side by side, so the pixels of a panel do, whatever the stride.
  void stage(const detail::NarrowUnit& unit) {
    stager.read_from(args.x);
    if (p.plain_input) return stage_plain(unit);
    const int64_t top = unit.first * p.stride.height;
    const int64_t rows = detail::staged_rows(plan, unit.last - unit.first);
    int32_t* to = scratch;
    for (int64_t sample = unit.sample; sample < unit.last_sample; ++sample)
      for (int64_t block = 0; block < blocks; ++block, to += staged_plane)
        for (int64_t row = 0; row < rows; ++row) {
          if (is_read(row, p.kernel.height, p.dilation.height, p.stride.height))
            stage_row((sample * blocks + block) * in_pixels, top + row - p.padding.top, to + row * row_words);
        }
  }

  void stage_plain(const detail::NarrowUnit& unit) {
    const int64_t top = unit.first * p.stride.height - p.padding.top;
    const int64_t rows = detail::staged_rows(plan, unit.last - unit.first);
    for (int64_t sample = unit.sample; sample < unit.last_sample; ++sample)
      for (int64_t row = 0; row < rows; ++row) {
        int32_t* const to = scratch + (sample - unit.sample) * staged_plane + row * row_words;
        stager.pad(p.stride.width * plan.staged_columns, to, plan.pixel_words);
        if (top + row >= 0 && top + row < p.height)
          stage_plain_row(sample * p.channels * in_pixels + (top + row) * p.width, to);
      }
  }

  void stage_plain_row(int64_t from, int32_t* to) {
    HWY_ALIGN int32_t words[HWY_MAX_BYTES / sizeof(int32_t)] = {};
    for (int64_t first = 0; first < p.width; first += lanes) {
      const int64_t count = std::min(lanes, p.width - first);
      for (int64_t word = 0; word < plan.words; ++word) {
        stager.plain_words(from + first, in_pixels, word * plan.word_values, count, words);
        for (int64_t i = 0; i < count; ++i) {
          const int64_t column = first + i + p.padding.left, place = column / p.stride.width;
          if (place >= plan.staged_columns) continue;  // no window reaches it
          to[(column % p.stride.width * plan.staged_columns + place) * plan.pixel_words + word] = words[i];
        }
      }
    }
  }

  void stage_row(int64_t plane, int64_t row, int32_t* to) {
    for (int64_t phase = 0; phase < p.stride.width; ++phase, to += plan.staged_columns * plan.pixel_words) {
      if (!is_read(phase, p.kernel.width, p.dilation.width, p.stride.width)) continue;
      if (row < 0 || row >= p.height) {
        stager.pad(plan.staged_columns, to, plan.pixel_words);
        continue;
      }
      // Column i of the phase is column i * stride + phase - left of the image.
      const int64_t stride = p.stride.width, shift = p.padding.left - phase;
      const int64_t first = std::clamp<int64_t>(shift > 0 ? (shift + stride - 1) / stride : 0, 0, plan.staged_columns);
      const int64_t after = p.width + shift;  // i * stride < after
      const int64_t last = std::clamp<int64_t>(after > 0 ? (after + stride - 1) / stride : 0, first, plan.staged_columns);
      stager.pad(first, to, plan.pixel_words);
      const int64_t from = plane + row * p.width - shift;
      if (stride == 1) {
        stager.copy((from + first) * kBlock, last - first, to + first * plan.pixel_words, plan.pixel_words);
      } else {
        for (int64_t i = first; i < last; ++i) stager.copy((from + i * stride) * kBlock, 1, to + i * plan.pixel_words, 0);
      }
      stager.pad(plan.staged_columns - last, to + last * plan.pixel_words, plan.pixel_words);
    }
  }

  /// Word 0 of the first pixel of a line, and the words between channel blocks.
  [[nodiscard]] const int32_t* line_words(const detail::NarrowUnit& unit, int64_t sample, int64_t line) const {
    if (!plan.staged) {
      return static_cast<const int32_t*>(args.x) + (sample * blocks * in_pixels + line * plan.line_pixels) * plan.pixel_words;
    }
    return scratch + (sample - unit.sample) * blocks * staged_plane + (line - unit.first) * p.stride.height * row_words;
  }

  void run_group(const detail::NarrowUnit& unit, int64_t group) const {
    const int32_t* const packed = static_cast<const int32_t*>(args.packed) + group * group_words;
    const int64_t channel = group * 2 * lanes;
    SumArrays totals[2];
    if constexpr (kObserve != Observe::kNothing) {
      totals[0] = at_channel(args.sums->of_thread(part), channel);
      totals[1] = at_channel(totals[0], lanes);
    }
    NarrowOperands o{nullptr, packed + 4 * lanes, packed, plan.staged ? staged_plane : in_pixels * plan.pixel_words, plan.words,
                     taps,    p.kernel.area()};
    const bool both = channel + lanes < out_blocks * kBlock;
    for (int64_t sample = unit.sample; sample < unit.last_sample; ++sample)
      for (int64_t line = unit.first; line < unit.last; ++line) {
        const int64_t pixel = line * plan.line_pixels, pixels = std::min(plan.line_pixels, out_pixels - pixel);
        const int32_t* const words = line_words(unit, sample, line);
        const int64_t panels = (pixels + kPanelRows - 1) / kPanelRows;
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t first = pixels * panel / panels, last = pixels * (panel + 1) / panels;
          const auto place = [&](int64_t c) {
            return ((sample * out_blocks + c / kBlock) * out_pixels + pixel + first) * kBlock + c % kBlock;
          };
          o.x = words + first * plan.pixel_words;
          const Results out{last - first,
                            {place(channel), place(channel + lanes)},
                            channel,
                            reinterpret_cast<const float*>(packed + 2 * lanes),
                            totals};
          if (both) {
            convolve_panel<2, kBlock, kMultiply, kObserve>(o, args, out);
          } else {
            convolve_panel<1, kBlock, kMultiply, kObserve>(o, args, out);
          }
        }
      }
  }

  void run(int64_t first_unit, int64_t last_unit, int64_t first_group, int64_t last_group) {
    if (first_group == last_group) return;
    for (int64_t i = first_unit; i < last_unit; ++i) {
      const detail::NarrowUnit unit = detail::narrow_unit(plan, args.samples, i);
      if (plan.staged) stage(unit);
      for (int64_t group = first_group; group < last_group; ++group) run_group(unit, group);
    }
  }
};

template <int kBlock, Multiply kMultiply, Observe kObserve>
void run(const NarrowConvPlan& plan, const NarrowConvArgs& args) {
  const NarrowConvProblem& p = plan.problem;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(hn::CappedTag<int32_t, kBlock>()));
  int64_t taps[detail::kMostTaps];
  const int64_t row_words = p.stride.width * plan.staged_columns * plan.pixel_words;
  for (int64_t r = 0, tap = 0; r < p.kernel.height; ++r)
    for (int64_t s = 0; s < p.kernel.width; ++s, ++tap) {
      const int64_t column = s * p.dilation.width;
      taps[tap] = r * p.dilation.height * row_words +
                  (column % p.stride.width * plan.staged_columns + column / p.stride.width) * plan.pixel_words;
    }
  const int64_t groups = (padded_channels(p.layout, p.out_channels) + 2 * lanes - 1) / (2 * lanes);
  const int64_t units = plan.units(args.samples), parts = p.threads;
  const size_t scratch_words = plan.scratch_bytes / sizeof(int32_t) / static_cast<size_t>(parts);
  for_parts(p.threads, [&](int part) HWY_ATTR {
    const auto share = [part, parts](int64_t n, int64_t which) { return n * (part + which) / parts; };
    int32_t* const scratch =
        plan.staged ? static_cast<int32_t*>(args.scratch) + static_cast<size_t>(part) * scratch_words : nullptr;
    Worker<kBlock, kMultiply, kObserve> worker{plan, args, part, scratch, taps};
    if (plan.split_outputs) {
      worker.run(0, units, share(groups, 0), share(groups, 1));
    } else {
      worker.run(share(units, 0), share(units, 1), 0, groups);
    }
  });
}

template <int kBlock, Multiply kMultiply>
void run_observed_or_not(const NarrowConvPlan& plan, const NarrowConvArgs& args) {
  switch (args.sums != nullptr ? observe_for(args.sums->sums) : Observe::kNothing) {
    case Observe::kNothing:
      return run<kBlock, kMultiply, Observe::kNothing>(plan, args);
    case Observe::kActivity:
      return run<kBlock, kMultiply, Observe::kActivity>(plan, args);
    case Observe::kAll:
      return run<kBlock, kMultiply, Observe::kAll>(plan, args);
  }
}

template <int kBlock>
void run_block(const NarrowConvPlan& plan, const NarrowConvArgs& args) {
#if HWY_TARGET == HWY_AVX3
  if (plan.problem.multiply == Multiply::kVnni) return run_observed_or_not<kBlock, Multiply::kVnni>(plan, args);
  if (plan.problem.multiply == Multiply::kBf16) return run_observed_or_not<kBlock, Multiply::kBf16>(plan, args);
#endif
  run_observed_or_not<kBlock, Multiply::kPairs>(plan, args);
}

void narrow_conv_run(const NarrowConvPlan& plan, const NarrowConvArgs& args) {
  plan.problem.layout == Layout::kNChw16c ? run_block<16>(plan, args) : run_block<8>(plan, args);
}

bool can_multiply_here([[maybe_unused]] Multiply how) {
#if HWY_TARGET == HWY_AVX3
  if (how == Multiply::kVnni) return __builtin_cpu_supports("avx512vnni") != 0;
  if (how == Multiply::kBf16) return __builtin_cpu_supports("avx512bf16") != 0;
#endif
  return how == Multiply::kPairs;
}

}  // namespace HWY_NAMESPACE
}  // namespace elek::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "core/error.h"

namespace elek::kernels::cpu {
HWY_EXPORT(narrow_conv_run);
HWY_EXPORT(can_multiply_here);

bool can_multiply(Multiply how) { return HWY_DYNAMIC_DISPATCH(can_multiply_here)(how); }

void narrow_conv(const NarrowConvPlan& plan, const NarrowConvArgs& args) {
  const NarrowConvProblem& p = plan.problem;
  ELEK_CHECK(args.samples > 0 && args.samples <= p.samples,
             "narrow_conv: planned for up to " + std::to_string(p.samples) + " samples, got " + std::to_string(args.samples));
  ELEK_CHECK(args.x != nullptr && args.y != nullptr && args.packed != nullptr && args.bias != nullptr,
             "narrow_conv: null data");
  ELEK_CHECK(!plan.staged || args.scratch != nullptr, "narrow_conv: no scratch");
  ELEK_CHECK(args.activation.is_clamp(), "narrow_conv: its last step only clamps");
  const bool real = args.y_stored.type == DType::kF32 || args.y_stored.type == DType::kBF16;
  ELEK_CHECK(real || (args.y_scale && (args.y_stored.type == DType::kI8) == args.y_signed),
             "narrow_conv: integers need a grid of their sign");
  if (args.sums != nullptr) {
    ELEK_CHECK(args.sums->threads >= p.threads && args.sums->channels_padded >= padded_channels(p.layout, p.out_channels),
               "narrow_conv: sums for " + std::to_string(args.sums->threads) + " threads, fewer than run");
  }
  HWY_DYNAMIC_DISPATCH(narrow_conv_run)(plan, args);
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
