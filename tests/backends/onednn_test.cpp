// SPDX-License-Identifier: Apache-2.0
// A primitive gives the same results however many threads divide it, for every way to divide: samples, channels, groups, rows.
#include "backends/cpu/onednn.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "backends/cpu/preferred_layout.h"
#include "core/runtime.h"

namespace elek::backends::cpu {
namespace {

std::vector<float> random_floats(size_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.uniform() - 0.5);
  return values;
}

size_t floats_of(int64_t samples, const ImageShape& shape, Layout layout) {
  return static_cast<size_t>(samples * padded_channels(layout, shape.channels) * shape.height * shape.width);
}

/// Packs and runs `samples` samples. Padding lanes of x are zero, as the backend keeps them.
template <typename Problem>
std::vector<float> run(const Problem& problem, int threads, int64_t samples, const std::vector<float>& weights,
                       const std::vector<float>& bias, const std::vector<float>& x, size_t y_floats) {
  const auto primitive = Primitive::make(problem, threads);
  const auto room = [](size_t bytes) { return std::vector<std::byte>(bytes + 64); };
  const auto aligned = [](std::vector<std::byte>& block) {
    return block.data() + (64 - reinterpret_cast<uintptr_t>(block.data()) % 64) % 64;
  };
  auto packed = room(primitive->packed_bytes()), staged = room(primitive->staged_bytes());
  auto scratch = room(primitive->scratch_bytes()), from = room(x.size() * 4), to = room(y_floats * 4),
       b = room(bias.size() * 4);
  std::copy(x.begin(), x.end(), reinterpret_cast<float*>(aligned(from)));
  std::copy(bias.begin(), bias.end(), reinterpret_cast<float*>(aligned(b)));
  primitive->pack(weights.data(), reinterpret_cast<float*>(aligned(staged)), aligned(packed));
  primitive->run(samples, aligned(from), aligned(packed), reinterpret_cast<float*>(aligned(b)), aligned(to), aligned(scratch));
  const auto* y = reinterpret_cast<const float*>(aligned(to));
  return {y, y + y_floats};
}

/// oneDNN may add in another order where it has other channels or samples to work on: |difference| <= 2 terms eps sum |w x|.
void expect_near(const std::vector<float>& got, const std::vector<float>& want, double terms, const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  const double bound = 2 * terms * 0x1p-24 * terms * 0.25 + 1e-7;  // |w|, |x| <= 0.5
  for (size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], bound) << what << ", output " << i;
}

ConvProblem conv(Layout layout, int64_t samples, ImageShape src, int64_t out, int64_t kernel, int64_t stride, int64_t groups) {
  ConvProblem p;
  p.samples = samples;
  p.src = src;
  p.kernel = Extent(kernel);
  p.stride = Extent(stride);
  const int64_t padding = kernel / 2;
  p.padding = Padding(padding);
  p.groups = groups;
  p.dst = {out, (src.height + 2 * padding - kernel) / stride + 1, (src.width + 2 * padding - kernel) / stride + 1};
  p.src_layout = p.dst_layout = layout;
  return p;
}

TEST(OneDnn, DividedConvolutionsEqualTheUndivided) {
  const Layout blocked = preferred_layout(DType::kF32);
  const std::vector<ConvProblem> problems = {
      conv(blocked, 1, {24, 30, 31}, 40, 3, 1, 1),       conv(blocked, 1, {40, 29, 17}, 56, 3, 2, 1),
      conv(blocked, 7, {24, 14, 14}, 24, 3, 1, 1),       conv(blocked, 8, {64, 14, 13}, 72, 1, 2, 1),
      conv(blocked, 1, {96, 17, 17}, 96, 3, 1, 6),       conv(blocked, 3, {96, 16, 15}, 96, 3, 2, 3),
      conv(blocked, 1, {20, 33, 33}, 20, 5, 1, 5),       conv(Layout::kNhwc, 1, {32, 31, 30}, 48, 3, 2, 1),
      conv(Layout::kNhwc, 1, {32, 30, 30}, 32, 7, 2, 1), conv(Layout::kNhwc, 2, {32, 9, 30}, 64, 3, 1, 1)};
  for (const ConvProblem& p : problems) {
    const std::string what = to_string(p.src) + " -> " + to_string(p.dst) + " kernel " + to_string(p.kernel) + " stride " +
                             to_string(p.stride) + " groups " + std::to_string(p.groups);
    const int64_t terms = p.src.channels / p.groups * p.kernel.height * p.kernel.width;
    const auto weights = random_floats(static_cast<size_t>(p.dst.channels * terms), 1);
    auto bias = random_floats(static_cast<size_t>(padded_channels(p.dst_layout, p.dst.channels)), 2);
    std::fill(bias.begin() + p.dst.channels, bias.end(), 0.0F);
    auto x = random_floats(floats_of(p.samples, p.src, p.src_layout), 3);
    const size_t y = floats_of(p.samples, p.dst, p.dst_layout);
    for (int64_t samples = 1; samples <= p.samples; ++samples) {
      const size_t used = floats_of(samples, p.dst, p.dst_layout);
      auto want = run(p, 1, samples, weights, bias, x, y);
      want.resize(used);
      for (const int threads : {2, 3, 5}) {
        auto got = run(p, threads, samples, weights, bias, x, y);
        got.resize(used);
        expect_near(got, want, static_cast<double>(terms),
                    what + ", " + std::to_string(samples) + " samples, " + std::to_string(threads) + " threads");
      }
    }
  }
}

TEST(OneDnn, ADividedLinearLayerEqualsTheUndivided) {
  LinearProblem p;
  p.samples = 5;
  p.in_features = 700;
  p.out_features = 1003;
  p.src_pitch = 704;
  p.dst_pitch = 1008;
  const auto weights = random_floats(static_cast<size_t>(p.in_features * p.out_features), 1);
  const auto bias = random_floats(1008, 2), x = random_floats(static_cast<size_t>(p.samples * p.src_pitch), 3);
  for (const int64_t samples : {int64_t{1}, int64_t{3}, p.samples}) {
    const auto want = run(p, 1, samples, weights, bias, x, static_cast<size_t>(p.samples * p.dst_pitch));
    for (const int threads : {2, 3, 7})
      expect_near(run(p, threads, samples, weights, bias, x, want.size()), want, 700, std::to_string(threads) + " threads");
  }
}

TEST(OneDnn, MoreSamplesThanItWasMadeForAreRefused) {
  const ConvProblem p = conv(preferred_layout(DType::kF32), 2, {8, 4, 4}, 8, 1, 1, 1);
  const auto primitive = Primitive::make(p, 1);
  EXPECT_ANY_THROW(primitive->run(3, nullptr, nullptr, nullptr, nullptr, nullptr));
}

}  // namespace
}  // namespace elek::backends::cpu
