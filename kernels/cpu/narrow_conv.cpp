// SPDX-License-Identifier: Apache-2.0
// Plans narrow_conv and packs its weights. Plain code without vectors; the kernel is in narrow_conv_simd.cpp.
#include "kernels/cpu/narrow_conv.h"

#include <algorithm>
#include <cstring>

#include "core/bfloat16.h"
#include "core/error.h"
#include "kernels/cpu/detail/narrow_units.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/vectors.h"

namespace elek::kernels::cpu {
namespace {

// Pixels of a unit: a quarter of a 1 MiB L2 cache. Weights, results and the pixels that are read use the rest.
constexpr int64_t kUnitBytes = int64_t{256} << 10;
// A line of pixels that are not staged: long enough that few panels are short, short enough to be divided among threads.
constexpr int64_t kLinePanels = 16;
constexpr int64_t kWordBytes = 4;

/// Whether the kernel can read x where it lies: the pixels of a panel side by side, in the type that it multiplies.
bool reads_in_place(const NarrowConvPlan& plan) {
  const NarrowConvProblem& p = plan.problem;
  const bool as_it_is = (p.multiply == Multiply::kVnni && p.x_type == DType::kU8) || p.multiply == Multiply::kBf16;
  return p.window() == Window{} && as_it_is && !p.plain_input;
}

/// Units of whole samples, or bands of the lines of one sample, so that each thread has one and a unit stays in the cache.
void divide(NarrowConvPlan& plan, int64_t sample_bytes) {
  const NarrowConvProblem& p = plan.problem;
  if (sample_bytes <= kUnitBytes && p.samples >= p.threads) {
    plan.unit_samples = std::min(std::max<int64_t>(kUnitBytes / sample_bytes, 1), p.samples / p.threads);
    return;
  }
  const int64_t small = ceil_div(sample_bytes, kUnitBytes), enough = ceil_div(p.threads, p.samples);
  plan.bands = std::min(std::max(small, enough), plan.lines);
}

}  // namespace

Result<NarrowConvPlan> plan_narrow_conv(const NarrowConvProblem& p) {
  const int64_t block = channel_block(p.layout);
  if (block < 8) return No{"narrow_conv wants a blocked layout, got " + std::string(name_of(p.layout))};
  ELEK_CHECK(p.samples > 0 && p.channels > 0 && p.out_channels > 0 && p.threads > 0 && is_possible(p.window()),
             "narrow_conv: samples, channels, threads, kernel and stride must be positive");
  constexpr int64_t kLargestProduct = 255 * 127;
  if (p.multiply != Multiply::kBf16 && p.channels * p.kernel.area() > INT32_MAX / kLargestProduct) {
    return No{"a sum of " + std::to_string(p.channels * p.kernel.area()) + " products may not fit in 32 bits"};
  }
  if (p.kernel.area() > detail::kMostTaps) return No{"a kernel of more than " + std::to_string(detail::kMostTaps) + " taps"};
  if (p.plain_input && p.channels > block) return No{"plain input of more than " + std::to_string(block) + " channels"};
  NarrowConvPlan plan;
  plan.problem = p;
  const ImageShape out = p.window().slide({p.out_channels, p.height, p.width});
  if (out.height == 0 || out.width == 0) return No{"image smaller than the kernel"};
  plan.out_height = out.height;
  plan.out_width = out.width;
  ELEK_CHECK(can_multiply(p.multiply), "narrow_conv: this CPU does not have the instruction");
  ELEK_CHECK((p.multiply == Multiply::kBf16) == (p.x_type == DType::kBF16), "narrow_conv: bf16 is multiplied by bf16");
  const int64_t lanes = vector_lanes(block), rows = panel_rows();
  plan.word_values = p.multiply == Multiply::kVnni ? 4 : 2;
  plan.pixel_words = block / plan.word_values;
  const int64_t blocks = ceil_div(p.channels, block);
  plan.words = ceil_div(p.channels, plan.word_values);
  plan.staged = !reads_in_place(plan);
  int64_t sample_words = 0;
  if (plan.staged) {
    plan.lines = plan.out_height;
    plan.line_pixels = plan.out_width;
    plan.staged_columns = plan.out_width + (p.kernel.width - 1) * p.dilation.width / p.stride.width;
    sample_words = detail::staged_rows(plan, plan.lines) * p.stride.width * plan.staged_columns * plan.pixel_words * blocks;
  } else {
    const int64_t pixels = plan.out_height * plan.out_width;
    plan.lines = ceil_div(pixels, kLinePanels * rows);
    plan.line_pixels = ceil_div(pixels, plan.lines);
    plan.lines = ceil_div(pixels, plan.line_pixels);
    sample_words = pixels * plan.pixel_words * blocks;
  }
  divide(plan, sample_words * kWordBytes);
  const int64_t groups = ceil_div(padded_channels(p.layout, p.out_channels), 2 * lanes);
  plan.packed_bytes = static_cast<size_t>(groups * detail::narrow_group_words(plan, lanes) * kWordBytes);
  plan.split_outputs =
      divides_outputs(plan.units(p.samples), groups, p.threads, p.samples * sample_words * kWordBytes, plan.packed_bytes);
  if (plan.staged) {
    plan.staged_rows = detail::staged_rows(plan, plan.bands == 1 ? plan.lines : ceil_div(plan.lines, plan.bands));
    const int64_t row_words = p.stride.width * plan.staged_columns * plan.pixel_words;
    plan.scratch_bytes =
        static_cast<size_t>(p.threads * plan.unit_samples * blocks * plan.staged_rows * row_words * kWordBytes);
  }
  return plan;
}

namespace {

/// Calls write(group's first byte, group) for each group of two vectors of output channels.
template <typename Write>
void for_groups(const NarrowConvPlan& plan, void* packed, const Write& write) {
  const int64_t lanes = vector_lanes(channel_block(plan.problem.layout));
  const int64_t bytes = detail::narrow_group_words(plan, lanes) * kWordBytes;
  for_ranges(static_cast<int64_t>(plan.packed_bytes) / bytes, plan.problem.threads,
             [&](int64_t group) { write(static_cast<std::byte*>(packed) + group * bytes, group * 2 * lanes, 2 * lanes); });
}

/// Writes one lane's weights of a group: value(tap, channel) for all taps and words, `depth` values a word.
template <typename T, typename Value>
void pack_lane(const NarrowConvPlan& plan, std::byte* group, int64_t lane, int64_t width, const Value& value) {
  const NarrowConvProblem& p = plan.problem;
  for (int64_t tap = 0; tap < p.kernel.area(); ++tap)
    for (int64_t word = 0; word < plan.words; ++word) {
      std::byte* const to = group + ((2 + tap * plan.words + word) * width + lane) * kWordBytes;
      for (int64_t j = 0; j < plan.word_values; ++j) {
        const int64_t c = word * plan.word_values + j;
        const T stored = c < p.channels ? value(tap, c) : T();
        std::memcpy(to + j * static_cast<int64_t>(sizeof(T)), &stored, sizeof(T));
      }
    }
}

}  // namespace

void pack_narrow_conv_weights(const NarrowConvPlan& plan, std::span<const int8_t> weights, std::span<const float> scales,
                              void* packed) {
  const NarrowConvProblem& p = plan.problem;
  const int64_t taps = p.kernel.area(), row = p.channels * taps;
  ELEK_CHECK(
      p.multiply != Multiply::kBf16 && std::ssize(weights) == p.out_channels * row && std::ssize(scales) == p.out_channels,
      "narrow_conv: weights or scales of another convolution");
  for_groups(plan, packed, [&](std::byte* group, int64_t first, int64_t width) {
    for (int64_t lane = 0; lane < width; ++lane) {
      const int64_t k = first + lane;
      const bool real = k < p.out_channels;
      const int8_t* const from = weights.data() + k * row;
      // The instruction for bytes wants x without sign: signed x is staged with 128 added to it.
      int32_t start = 0;
      for (int64_t i = 0; real && p.multiply == Multiply::kVnni && p.x_signed && i < row; ++i) start -= 128 * from[i];
      const float scale = real ? scales[static_cast<size_t>(k)] * p.x_scale : 0.0F;
      std::memcpy(group + lane * kWordBytes, &start, kWordBytes);
      std::memcpy(group + (width + lane) * kWordBytes, &scale, kWordBytes);
      const auto value = [&](int64_t tap, int64_t c) { return real ? from[c * taps + tap] : int8_t{0}; };
      if (p.multiply == Multiply::kVnni) {
        pack_lane<int8_t>(plan, group, lane, width, value);
      } else {
        pack_lane<int16_t>(plan, group, lane, width, value);
      }
    }
  });
}

void pack_narrow_conv_weights(const NarrowConvPlan& plan, const float* weights, void* packed) {
  const NarrowConvProblem& p = plan.problem;
  ELEK_CHECK(p.multiply == Multiply::kBf16, "narrow_conv: weights of integers come with scales");
  const int64_t taps = p.kernel.area();
  for_groups(plan, packed, [&](std::byte* group, int64_t first, int64_t width) {
    std::memset(group, 0, static_cast<size_t>(2 * width * kWordBytes));  // sums start from 0; there are no scales
    for (int64_t lane = 0; lane < width; ++lane) {
      const int64_t k = first + lane;
      pack_lane<BFloat16>(plan, group, lane, width, [&](int64_t tap, int64_t c) {
        return k < p.out_channels ? BFloat16(weights[(k * p.channels + c) * taps + tap]) : BFloat16();
      });
    }
  });
}

}  // namespace elek::kernels::cpu
