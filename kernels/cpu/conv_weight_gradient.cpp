// SPDX-License-Identifier: Apache-2.0
// See conv_weight_gradient.h. Google Highway compiles this file once per instruction set.
// A vector holds neighbouring output channels k. One step loads a vector of g per tile column and broadcasts one value of x
// per tile row: kVectors + kRows loads for kVectors * kRows multiply-adds.
// Tests: tests/kernels/conv_weight_gradient_test.cpp
#include "kernels/cpu/conv_weight_gradient.h"

#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/conv_weight_gradient.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <algorithm>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/vectors.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Rows of a tile (channels c). kTileVectors * kTileRows accumulators, the vectors of g and one broadcast must fit in 32 or 16
// registers.
#if HWY_TARGET <= HWY_AVX3 || HWY_TARGET == HWY_NEON
constexpr int kTileRows = 8;
#else
constexpr int kTileRows = 4;
#endif
constexpr int kTileVectors = 3;

/// A tile's position, and rows [first, last) of all samples' rows of g.
struct TileTask {
  int64_t first, last;
  int64_t tap_row, tap_column;
  int64_t channel;      // first c
  int64_t out_channel;  // first k
};

template <int kBlock>
struct Gradient {
  const WeightGradientPlan& plan;
  const float* x;
  const float* g;
  float* scratch;
  const hn::CappedTag<float, kBlock> d{};
  const WeightGradientProblem& p = plan.problem;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t in_blocks = padded_channels(p.layout, p.channels) / kBlock;
  const int64_t out_blocks = padded_channels(p.layout, p.out_channels) / kBlock;
  const int64_t in_plane = p.height * p.width * kBlock, out_plane = plan.out_height * plan.out_width * kBlock;

  /// Columns of g whose x lies inside the image, for column `s` of the window.
  [[nodiscard]] int64_t first_column(int64_t s) const {
    const int64_t outside = p.padding.left - s * p.dilation.width;
    return outside <= 0 ? 0 : (outside + p.stride.width - 1) / p.stride.width;
  }
  [[nodiscard]] int64_t end_column(int64_t s) const {
    const int64_t room = p.width - 1 + p.padding.left - s * p.dilation.width;
    return room < 0 ? 0 : std::min(plan.out_width, room / p.stride.width + 1);
  }
  /// Offset of channel k from the first channel of its sample in g.
  [[nodiscard]] int64_t out_offset(int64_t k) const { return k / kBlock * out_plane + k % kBlock; }
  /// The tile rows of one vector of k are contiguous: [vector of k][channel block][tap][channel of the block][lane].
  [[nodiscard]] float* tile(const TileTask& t, int64_t vector) const {
    const int64_t tap = t.tap_row * p.kernel.width + t.tap_column;
    const int64_t row = ((t.out_channel / lanes + vector) * in_blocks + t.channel / kBlock) * p.kernel.area() + tap;
    return scratch + (row * kBlock + t.channel % kBlock) * lanes;
  }

  template <int kVectors>
  HWY_NOINLINE void add_rows(const TileTask& t) const {
    const int64_t begin = first_column(t.tap_column), end = end_column(t.tap_column), step = p.stride.width * kBlock;
    hn::Vec<hn::CappedTag<float, kBlock>> acc[kVectors][kTileRows];
    int64_t offset[kVectors];
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) {
      offset[v] = out_offset(t.out_channel + v * lanes);
      const float* from = tile(t, v);
#pragma GCC unroll 8
      for (int c = 0; c < kTileRows; ++c) acc[v][c] = hn::Load(d, from + c * lanes);
    }
    int64_t sample = t.first / plan.out_height, row = t.first % plan.out_height;
    for (int64_t i = t.first; i < t.last; ++i) {
      const int64_t x_row = row * p.stride.height - p.padding.top + t.tap_row * p.dilation.height;
      if (x_row >= 0 && x_row < p.height) {
        const float* HWY_RESTRICT from = g + sample * out_blocks * out_plane + (row * plan.out_width + begin) * kBlock;
        const float* HWY_RESTRICT pixel =
            x + (sample * in_blocks + t.channel / kBlock) * in_plane + t.channel % kBlock +
            (x_row * p.width + begin * p.stride.width - p.padding.left + t.tap_column * p.dilation.width) * kBlock;
        for (int64_t q = begin; q < end; ++q, from += kBlock, pixel += step) {
          hn::Vec<hn::CappedTag<float, kBlock>> vector[kVectors];
#pragma GCC unroll 3
          for (int v = 0; v < kVectors; ++v) vector[v] = hn::Load(d, from + offset[v]);
#pragma GCC unroll 8
          for (int c = 0; c < kTileRows; ++c) {
            const auto value = hn::Set(d, pixel[c]);
#pragma GCC unroll 3
            for (int v = 0; v < kVectors; ++v) acc[v][c] = hn::MulAdd(value, vector[v], acc[v][c]);
          }
        }
      }
      if (++row == plan.out_height) row = 0, ++sample;
    }
#pragma GCC unroll 3
    for (int v = 0; v < kVectors; ++v) {
      float* to = tile(t, v);
#pragma GCC unroll 8
      for (int c = 0; c < kTileRows; ++c) hn::Store(acc[v][c], d, to + c * lanes);
    }
  }

  void add_tile(const TileTask& t, int64_t vectors) const {
    if (vectors >= 3) return add_rows<3>(t);
    vectors == 2 ? add_rows<2>(t) : add_rows<1>(t);
  }

  [[nodiscard]] int64_t vectors() const { return out_blocks * kBlock / lanes; }
  /// The vectors of k are divided into groups of at most kTileVectors, as evenly as possible.
  [[nodiscard]] int64_t groups() const { return (vectors() + kTileVectors - 1) / kTileVectors; }

  /// Tiles [first, last) of all tiles, chunk by chunk. A tile here is a group of vectors of k, one tap and one block of c:
  /// kBlock / kTileRows tiles in registers.
  void run(int64_t samples, int64_t first, int64_t last) const {
    const int64_t taps = p.kernel.area(), rows = samples * plan.out_height;
    for (int64_t from = 0; from < rows; from += plan.chunk_rows) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t group = i / (in_blocks * taps), block = i / taps % in_blocks, tap = i % taps;
        const int64_t vector = vectors() * group / groups(), next = vectors() * (group + 1) / groups();
        const int64_t end = std::min((block + 1) * kBlock, p.channels);
        for (int64_t c = block * kBlock; c < end; c += kTileRows) {
          add_tile(
              {from, std::min(from + plan.chunk_rows, rows), tap / p.kernel.width, tap % p.kernel.width, c, vector * lanes},
              next - vector);
        }
      }
    }
  }
};

template <int kBlock>
void run_all(const WeightGradientPlan& plan, const float* x, int64_t samples, const float* g, float* scratch) {
  const Gradient<kBlock> gradient{plan, x, g, scratch};
  const int64_t tiles = gradient.groups() * gradient.in_blocks * plan.problem.kernel.area();
  const int parts = static_cast<int>(std::min<int64_t>(plan.problem.threads, tiles));
  for_parts(parts, [&](int part) HWY_ATTR {
    gradient.run(samples, part_begin(tiles, parts, part, 1), part_begin(tiles, parts, part + 1, 1));
  });
}

void gradient_run(const WeightGradientPlan& plan, const float* x, int64_t samples, const float* g, float* scratch) {
  plan.problem.layout == Layout::kNChw16c ? run_all<16>(plan, x, samples, g, scratch)
                                          : run_all<8>(plan, x, samples, g, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace elek::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
HWY_EXPORT(gradient_run);

namespace {

constexpr int64_t kChunkBytes = int64_t{256} << 10;  // of x and g: half of a small L2 cache

/// dw in the order of the weights, from the tiles.
void unpack(const WeightGradientPlan& plan, const float* tiles, float* dw, bool add) {
  const WeightGradientProblem& p = plan.problem;
  const int64_t block = channel_block(p.layout), lanes = vector_lanes(block), taps = p.kernel.area();
  const int64_t in_blocks = padded_channels(p.layout, p.channels) / block;
  for_ranges(p.out_channels, p.threads, [&](int64_t k) {
    for (int64_t c = 0; c < p.channels; ++c)
      for (int64_t tap = 0; tap < taps; ++tap) {
        const int64_t row = (k / lanes * in_blocks + c / block) * taps + tap;
        const float sum = tiles[(row * block + c % block) * lanes + k % lanes];
        float& to = dw[(k * p.channels + c) * taps + tap];
        to = add ? to + sum : sum;
      }
  });
}

}  // namespace

Result<WeightGradientPlan> plan_weight_gradient(const WeightGradientProblem& p) {
  const int64_t block = channel_block(p.layout);
  if (block < 8) return No{"weight_gradient wants a blocked layout, got " + std::string(name_of(p.layout))};
  ELEK_CHECK(p.samples > 0 && p.channels > 0 && p.out_channels > 0 && p.threads > 0 && is_possible(p.window()),
             "weight_gradient: samples, channels, threads, kernel and stride must be positive");
  const ImageShape out = p.window().slide({p.channels, p.height, p.width});
  if (out.positions() == 0) return No{"image smaller than the kernel"};
  WeightGradientPlan plan;
  plan.problem = p;
  plan.out_height = out.height;
  plan.out_width = out.width;
  const int64_t in_pitch = padded_channels(p.layout, p.channels), out_pitch = padded_channels(p.layout, p.out_channels);
  const int64_t row_bytes =
      (in_pitch * p.width * p.stride.height + out_pitch * plan.out_width) * static_cast<int64_t>(sizeof(float));
  plan.chunk_rows = std::clamp<int64_t>(kChunkBytes / row_bytes, 1, p.samples * plan.out_height);
  plan.scratch_bytes = static_cast<size_t>(out_pitch * in_pitch * p.kernel.area()) * sizeof(float);
  return plan;
}

void weight_gradient(const WeightGradientPlan& plan, const ActivationView<const float>& x, const ActivationView<const float>& g,
                     float* scratch, float* dw, bool add) {
  const WeightGradientProblem& p = plan.problem;
  const ImageShape in{p.channels, p.height, p.width}, out{p.out_channels, plan.out_height, plan.out_width};
  ELEK_CHECK(x.data != nullptr && g.data != nullptr && scratch != nullptr && dw != nullptr, "weight_gradient: null data");
  ELEK_CHECK(x.samples > 0 && x.samples <= p.samples && x.samples == g.samples,
             "weight_gradient: planned for up to " + std::to_string(p.samples) + " samples, got " + std::to_string(x.samples) +
                 " and " + std::to_string(g.samples));
  ELEK_CHECK(x.shape == in && g.shape == out && x.layout == p.layout && g.layout == p.layout,
             "weight_gradient: x is " + to_string(x.shape) + " and g is " + to_string(g.shape) + ", planned for " +
                 to_string(in) + " and " + to_string(out));
  std::fill_n(scratch, plan.scratch_bytes / sizeof(float), 0.0F);
  HWY_DYNAMIC_DISPATCH(gradient_run)(plan, x.data, x.samples, g.data, scratch);
  unpack(plan, scratch, dw, add);
}

void bias_gradient(const ActivationView<const float>& g, float* db, bool add, int threads) {
  check_view(g, "bias_gradient", "g");
  ELEK_CHECK(db != nullptr, "bias_gradient: null data");
  const Geometry geometry(g);
  const int parts = parts_for(geometry.elements(), threads, static_cast<int>(std::min<int64_t>(geometry.blocks, 1 << 16)));
  for_ranges(geometry.blocks, parts, [&](int64_t block) {
    double sums[kLanes] = {};
    const int width = geometry.width(block);
    for (int64_t n = 0; n < g.samples; ++n) {
      const float* from = g.data + geometry.base(n, block);
      for (int64_t i = 0; i < geometry.positions; ++i, from += geometry.row_stride) {
        for (int lane = 0; lane < width; ++lane) sums[lane] += double{from[lane]};
      }
    }
    for (int lane = 0; lane < geometry.valid(block); ++lane) {
      float& to = db[block * geometry.block + lane];
      to = static_cast<float>(add ? double{to} + sums[lane] : sums[lane]);
    }
  });
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
