// SPDX-License-Identifier: Apache-2.0
// Pools compared with loops written like the definitions, every layout and target; windows that do not divide the map, NaN,
// sums of the output.
#include "kernels/cpu/pool.h"

#include <limits>

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

enum class Kind : uint8_t { kMax, kAverage };

/// y in double over NCHW; padding is -infinity (maximum) or counts as zero (average).
std::vector<double> naive_pool(const std::vector<float>& x, int64_t planes, const ImageShape& in, const ImageShape& out,
                               const PoolWindow& w, Kind kind) {
  std::vector<double> y;
  for (int64_t plane = 0; plane < planes; ++plane) {
    for (int64_t p = 0; p < out.height; ++p) {
      for (int64_t q = 0; q < out.width; ++q) {
        double kept = kind == Kind::kMax ? -std::numeric_limits<double>::infinity() : 0;
        int64_t counted = 0;
        for (int64_t r = 0; r < w.kernel.height; ++r) {
          for (int64_t s = 0; s < w.kernel.width; ++s) {
            const int64_t h = p * w.stride.height - w.padding.top + r, v = q * w.stride.width - w.padding.left + s;
            const bool in_image = h >= 0 && v >= 0 && h < in.height && v < in.width;
            const bool padded = h < in.height + w.padding.bottom && v < in.width + w.padding.right;  // not only by rounding up
            counted += in_image || (w.counts_padding && padded) ? 1 : 0;
            if (!in_image) continue;
            const auto value = static_cast<double>(x[static_cast<size_t>((plane * in.height + h) * in.width + v)]);
            if (kind == Kind::kAverage) kept += value;
            if (kind == Kind::kMax && (value > kept || value != value)) kept = value;
          }
        }
        y.push_back(kind == Kind::kMax ? kept : kept / static_cast<double>(counted));
      }
    }
  }
  return y;
}

constexpr Rounding kUp = Rounding::kUp, kDown = Rounding::kDown;
const PoolWindow kWindows[] = {{3, 2, 1},
                               {2, 2, 0},
                               {3, 1, 1},
                               {2, 3, 1},
                               {1, 1, 0},
                               {5, 2, 2},
                               {3, 2, 0, kUp},
                               {3, 2, 1, kUp},
                               {3, 2, 1, kUp, false},
                               {3, 2, 1, kDown, false},
                               {{2, 3}, {1, 2}, {1, 2, 0, 1}},
                               {{3, 1}, {2, 3}, {0, 0, 2, 0}, kUp},
                               {{4, 3}, {3, 2}, {3, 0, 1, 2}, kUp, false}};

ImageShape slid(const PoolWindow& w, const ImageShape& in) {
  return Window{w.kernel, w.stride, w.padding, 1}.slide(in, w.rounding);
}

TEST(Pool, MatchesTheDefinitionInEveryLayoutAndTarget) {
  for_each_target([] {
    size_t turn = 0;
    for_each_case([&](int64_t samples, const ImageShape& in, Layout layout) {
      const PoolWindow& w = kWindows[turn++ % std::size(kWindows)];
      const ImageShape out = slid(w, in);
      if (out.positions() == 0 || in.elements() * samples > 60000) return;
      SCOPED_TRACE(to_text(samples, in, layout) + " " + to_string(Window{w.kernel, w.stride, w.padding, 1}) +
                   (w.rounding == kUp ? " up" : "") + (w.counts_padding ? "" : " without padding"));
      const auto x_values = small_integers(static_cast<size_t>(samples * in.elements()), turn, 100);
      Activation x(samples, in, layout, x_values);
      for (const Kind kind : {Kind::kMax, Kind::kAverage}) {
        Activation y(samples, out, layout, /*extra_pitch=*/5);
        (kind == Kind::kMax ? max_pool<float> : avg_pool<float>)(x.view(), y.view(), w, nullptr,
                                                                 1 + static_cast<int>(turn % 2));
        // integers: the sum is exact, the quotient rounds once
        const Mismatch m =
            compare(y.nchw(), naive_pool(x_values, samples * in.channels, in, out, w, kind), 0, kind == Kind::kMax ? 0 : kU);
        EXPECT_EQ(m.count, 0) << m.message();
        EXPECT_EQ(y.dirty_padding(), 0);
        EXPECT_TRUE(y.memory.guards_intact() && x.memory.guards_intact());
      }
    });
  });
}

TEST(Pool, NanWinsAMaximumWhereverItStands) {
  const ImageShape in{3, 6, 6}, out{3, 3, 3};
  for (size_t at = 0; at < 36; ++at) {
    std::vector<float> values = small_integers(108, at);
    values[36 + at] = std::nanf("");
    for_each_target([&] {
      for (const Layout layout : {Layout::kNchw, Layout::kNChw16c}) {
        Activation x(1, in, layout, values), y(1, out, layout);
        max_pool(x.view(), y.view(), {3, 2, 1}, nullptr, 1);
        const Mismatch m = compare(y.nchw(), naive_pool(values, 3, in, out, {3, 2, 1}, Kind::kMax), 0, 0, NonFinite::kSameKind);
        EXPECT_EQ(m.count, 0) << m.message();
      }
    });
  }
}

TEST(Pool, GlobalAverageFromAnyLayoutToAnyLayout) {
  for_each_target([] {
    uint64_t seed = 0;
    for_each_case([&](int64_t samples, const ImageShape& in, Layout layout) {
      if (in.elements() * samples > 60000) return;
      const auto values = random_values(static_cast<size_t>(samples * in.elements()), ++seed, in.channels, in.positions());
      Activation x(samples, in, layout, values);
      std::vector<double> want;
      for (int64_t i = 0; i < samples * in.channels; ++i) {
        double sum = 0;
        for (int64_t p = 0; p < in.positions(); ++p)
          sum += static_cast<double>(values[static_cast<size_t>(i * in.positions() + p)]);
        want.push_back(sum / static_cast<double>(in.positions()));
      }
      for (const Layout to : {Layout::kNchw, layout}) {
        Activation y(samples, {in.channels, 1, 1}, to);
        global_avg_pool(x.view(), y.view(), nullptr, 2);
        const Mismatch m = compare(y.nchw(), want, 0x1p-45, 1.0001 * kU);  // one rounding to f32, double sums before
        EXPECT_EQ(m.count, 0) << to_text(samples, in, layout) << m.message();
        EXPECT_EQ(y.dirty_padding(), 0);
        EXPECT_TRUE(y.memory.guards_intact());
      }
    });
  });
}

TEST(Pool, SumsAreOfTheOutput) {
  const ImageShape in{21, 8, 8}, out{21, 4, 4};
  const auto values = small_integers(static_cast<size_t>(2 * in.elements()), 3);
  Activation x(2, in, Layout::kNChw16c, values), y(2, out, Layout::kNChw16c);
  Guarded<double> block(ChannelSums::bytes(32, kActivity, 1) / sizeof(double));
  const ChannelSums sums = ChannelSums::lay_out(block.data(), 21, 32, kActivity, 1.5F, 1);
  sums.reset();
  max_pool(x.view(), y.view(), {2, 2, 0}, &sums, 1);
  const auto pooled = naive_pool(values, 2 * 21, in, out, {2, 2, 0}, Kind::kMax);
  for (size_t c = 0; c < 21; ++c) {
    double sum = 0;
    int64_t active = 0;
    for (size_t n = 0; n < 2; ++n) {
      for (size_t p = 0; p < 16; ++p)
        sum += pooled[(n * 21 + c) * 16 + p], active += pooled[(n * 21 + c) * 16 + p] > 1.5 ? 1 : 0;
    }
    EXPECT_EQ(sums.of_thread(0).sum[c], sum);
    EXPECT_EQ(sums.of_thread(0).active[c], active);
  }
}

TEST(Pool, RefusesWhatDoesNotFollow) {
  Activation x(1, {4, 6, 6}, Layout::kNchw, std::vector<float>(144)), y(1, {4, 3, 3}, Layout::kNchw),
      z(1, {4, 3, 3}, Layout::kNhwc);
  EXPECT_THROW(max_pool(x.view(), y.view(), {3, 1, 1}, nullptr, 1), ContractError);
  EXPECT_THROW(max_pool(x.view(), y.view(), {2, 2, 2}, nullptr, 1), ContractError);
  EXPECT_THROW(max_pool(x.view(), z.view(), {2, 2, 0}, nullptr, 1), ContractError);
  EXPECT_THROW(global_avg_pool(x.view(), y.view(), nullptr, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
