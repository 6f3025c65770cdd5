// SPDX-License-Identifier: Apache-2.0
// Kernels on bf16 activations compared with the same kernels on the same values in f32, which have their own references. Both
// compute in f32, so a stored bf16 result must be the f32 result rounded once, to the bit, and its sums must be those of the
// stored values. Every layout and target. The rounding itself: tests/unit/base_test.cpp, and here vector by vector.
#include <algorithm>
#include <cstring>

#include "core/bfloat16.h"
#include "kernels/cpu/batch_moments.h"
#include "kernels/cpu/channel_map.h"
#include "kernels/cpu/epilogue.h"
#include "kernels/cpu/pool.h"
#include "kernels/cpu/preprocess.h"
#include "kernels/cpu/tap_norms.h"
#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

/// A bf16 copy of an activation: the same places, every value rounded.
struct Narrow {
  std::vector<BFloat16> memory;
  ActivationView<BFloat16> view;
  explicit Narrow(Activation& wide) : memory(wide.memory.span().size()) {
    for (size_t i = 0; i < memory.size(); ++i) memory[i] = BFloat16(wide.memory[i]);
    const auto v = wide.view();
    view = {memory.data(), v.samples, v.shape, v.layout, v.channel_pitch};
  }
};

/// Rounds every value in place, so that both copies hold the same.
void round_all(Activation& activation) {
  for (float& v : activation.memory.span()) v = static_cast<float>(BFloat16(v));
}

/// Number of elements where `got` is not `want` rounded once. NaN equals NaN, and the sign of zero does not matter.
int64_t differing(const Narrow& got, Activation& want) {
  int64_t count = 0;
  for (size_t i = 0; i < got.memory.size(); ++i) {
    const auto a = static_cast<float>(got.memory[i]), b = static_cast<float>(BFloat16(want.memory[i]));
    count += a == b || (std::isnan(a) && std::isnan(b)) ? 0 : 1;
  }
  return count;
}

/// Values of every kind that rounding treats differently: ties up and down, NaN, infinities, the largest, the smallest.
std::vector<float> awkward_values(size_t count, uint64_t seed) {
  std::vector<float> values = random_values(count, seed);
  const float kinds[] = {1.00390625F,  // halfway between 1 and 1 + 2^-7: to even, down
                         1.01171875F,  // halfway, up
                         -1.00390625F, 3.4028235e38F, 1e-40F, -1e-45F, std::nanf(""), HUGE_VALF, -HUGE_VALF, 0.0F};
  for (size_t i = 0; i < count; i += 7) values[i] = kinds[i / 7 % std::size(kinds)];
  return values;
}

/// f(samples, shape, layout, seed) over part of the shape table, with every target.
template <typename F>
void for_each_small_case(const F& f) {
  for_each_target([&] {
    uint64_t seed = 0;
    for (const int64_t channels : {1, 7, 16, 37, 64}) {
      for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {5, 9}, {14, 14}}) {
        for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
          SCOPED_TRACE(to_text(2, {channels, h, w}, layout));
          f(2, ImageShape{channels, h, w}, layout, ++seed);
        }
      }
    }
  });
}

TEST(Bf16Kernels, StoreWhatF32RoundsToOnce) {
  for_each_small_case([](int64_t samples, const ImageShape& shape, Layout layout, uint64_t seed) {
    Activation x(samples, shape, layout, awkward_values(static_cast<size_t>(samples * shape.elements()), seed));
    round_all(x);
    const Narrow x16(x);
    const PoolWindow window{3, 2, 1};
    const ImageShape half{shape.channels, (shape.height - 1) / 2 + 1, (shape.width - 1) / 2 + 1};
    {
      Activation y(samples, half, layout);
      Narrow y16(y);
      max_pool(x.view(), y.view(), window, nullptr, 2);
      max_pool(x16.view, y16.view, window, nullptr, 2);
      EXPECT_EQ(differing(y16, y), 0) << "max_pool";
      avg_pool(x.view(), y.view(), window, nullptr, 1);
      avg_pool(x16.view, y16.view, window, nullptr, 1);
      EXPECT_EQ(differing(y16, y), 0) << "avg_pool";
      std::vector<int32_t> source(static_cast<size_t>(shape.channels));
      for (size_t c = 0; c < source.size(); ++c) source[c] = c % 3 == 0 ? -1 : static_cast<int32_t>(source.size() - 1 - c);
      channel_map(x.view(), source, 2, y.view(), nullptr, 1);
      channel_map(x16.view, source, 2, y16.view, nullptr, 1);
      EXPECT_EQ(differing(y16, y), 0) << "channel_map";
    }
    Activation mean(samples, {shape.channels, 1, 1}, Layout::kNchw);
    Narrow mean16(mean);
    global_avg_pool(x.view(), mean.view(), nullptr, 2);
    global_avg_pool(x16.view, mean16.view, nullptr, 2);
    EXPECT_EQ(differing(mean16, mean), 0) << "global_avg_pool";
    std::vector<uint8_t> pixels(static_cast<size_t>(samples * shape.elements()));
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * 7);
    std::vector<float> table(static_cast<size_t>(shape.channels * kPixelValues));
    for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i) / 255.0F - 0.3F;
    Activation input(samples, shape, layout);
    Narrow input16(input);
    preprocess(pixels.data(), table.data(), input.view(), 2);
    preprocess(pixels.data(), table.data(), input16.view, 2);
    EXPECT_EQ(differing(input16, input), 0) << "preprocess";
  });
}

constexpr uint32_t kEverything = kActivity | kMoments | kAbsolute | kRange | kPerSample;

/// Sums of one value with a block of their own.
struct Sums {
  Guarded<double> block;
  ChannelSums sums;
  Sums(const ActivationView<float>& v, uint32_t sets)
      : block(ChannelSums::bytes(lanes(v), sets, 2) / sizeof(double)),
        sums(ChannelSums::lay_out(block.data(), v.shape.channels, lanes(v), sets, 0.5F, 2)) {
    sums.reset();
  }
  static int64_t lanes(const ActivationView<float>& v) { return padded_channels(v.layout, v.shape.channels); }
  /// Bytes that differ from another's, NaN by its bits.
  [[nodiscard]] bool same_as(const Sums& other) const {
    const auto bytes = ChannelSums::bytes(sums.channels_padded, sums.sums, 2);
    return std::memcmp(sums.block, other.sums.block, bytes) == 0;
  }
};

/// The epilogue: from f32 (as convolutions leave z) and from bf16 (as standalone steps read it), and the sums of what is
/// stored.
TEST(Bf16Kernels, TheEpilogueRoundsOnceAndSumsWhatItStored) {
  for_each_small_case([](int64_t samples, const ImageShape& shape, Layout layout, uint64_t seed) {
    const auto count = static_cast<size_t>(samples * shape.elements());
    Activation z(samples, shape, layout, random_values(count, seed, shape.channels, shape.positions()));
    Activation residual(samples, shape, layout,
                        seed % 2 == 0 ? awkward_values(count, seed + 1) : random_values(count, seed + 1));
    round_all(residual);
    const Narrow residual16(residual);
    Activation y(samples, shape, layout);
    Narrow y16(y);
    std::vector<float> scale(static_cast<size_t>(shape.channels), 0.75F), shift(scale.size());
    for (size_t c = 0; c < shift.size(); ++c) shift[c] = 0.01F * static_cast<float>(c);
    Epilogue<float, float> wide;
    wide.z = z.view(), wide.y = y.view(), wide.residual = residual.memory.data();
    wide.scale = scale.data(), wide.shift = shift.data(), wide.activation = elek::Activation::kRelu;
    Sums z_sums(y.view(), kEverything);
    wide.sums = &z_sums.sums;
    run_epilogue(wide, 2);
    Sums narrow_sums(y.view(), kEverything);
    Epilogue<float, BFloat16> narrow;
    narrow.z = z.view(), narrow.y = y16.view, narrow.residual = residual16.memory.data();
    narrow.scale = scale.data(), narrow.shift = shift.data(), narrow.activation = elek::Activation::kRelu;
    narrow.sums = &narrow_sums.sums;
    run_epilogue(narrow, 2);
    EXPECT_EQ(differing(y16, y), 0);
    round_all(y);  // the sums are of the stored values; those of z are f32's
    Sums stored(y.view(), kEverything & ~uint32_t{kMoments}), read(y.view(), kEverything & ~uint32_t{kMoments});
    observe(y.view(), stored.sums, 2);
    observe(y16.view, read.sums, 2);
    EXPECT_TRUE(read.same_as(stored));
    for (size_t c = 0; c < scale.size(); ++c) {
      for (int thread = 0; thread < 2; ++thread) {
        const SumArrays got = narrow_sums.sums.of_thread(thread), want = z_sums.sums.of_thread(thread);
        const SumArrays again = stored.sums.of_thread(thread);
        EXPECT_TRUE(std::isnan(want.z_sum[c]) ? std::isnan(got.z_sum[c]) : got.z_sum[c] == want.z_sum[c]) << c;
        EXPECT_EQ(got.active[c], again.active[c]) << c;
        EXPECT_EQ(got.nonfinite[c], again.nonfinite[c]) << c;
      }
    }
    // In place and from bf16, as an addition of its own.
    Narrow sum(residual);
    Epilogue<BFloat16, BFloat16> add;
    add.z = sum.view, add.y = sum.view, add.residual = residual16.memory.data();
    run_epilogue(add, 1);
    for (float& v : residual.memory.span()) v += v;
    EXPECT_EQ(differing(sum, residual), 0);
  });
}

TEST(Bf16Kernels, NormsAndMomentsAreThoseOfTheSameValuesInF32) {
  for_each_small_case([](int64_t samples, const ImageShape& shape, Layout layout, uint64_t seed) {
    Activation x(samples, shape, layout, random_values(static_cast<size_t>(samples * shape.elements()), seed, shape.channels));
    round_all(x);
    const Narrow x16(x);
    const TapNormPlan plan = make_tap_norm_plan(shape, {3, 2, 1, 1});
    const auto norms = [&](const auto& view) {
      Guarded<double> sums(tap_norm_bytes(plan, 2) / sizeof(double));
      for (double& each : sums.span()) each = 0;
      tap_norms(view, plan, sums.data(), 2, 2);
      std::vector<double> out(static_cast<size_t>(shape.channels * 9));
      reduce_tap_norms(plan, sums.data(), 2, out.data());
      return out;
    };
    EXPECT_EQ(norms(x16.view), norms(x.view()));
    const auto moments = [&](const auto& view) {
      std::vector<double> out(static_cast<size_t>(2 * shape.channels));
      Guarded<std::byte> workspace(batch_moments_workspace_bytes(shape.channels, 2));
      batch_moments(view, {out.data(), out.data() + shape.channels, nullptr}, workspace.data(), 2);
      return out;
    };
    EXPECT_EQ(moments(x16.view), moments(x.view()));
  });
}

}  // namespace
}  // namespace elek::test
