// SPDX-License-Identifier: Apache-2.0
// Preprocessing, channel maps, and conversions of weights and layouts: all exact, except for one rounding to the type.
#include "kernels/cuda/layout.h"

#include "kernels/cuda/channel_map.h"
#include "kernels/cuda/channel_scale.h"
#include "kernels/cuda/preprocess.h"
#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

using namespace elek::kernels;        // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

using LayoutCase = KernelCaseTest;

TEST_P(LayoutCase, PreprocessLooksUpEveryPixel) {
  const auto [dtype, channels] = GetParam();
  std::vector<float> mean, std, table(static_cast<size_t>(channels * kPixelValues));
  for (int64_t c = 0; c < channels; ++c) {
    mean.push_back(0.4F + 0.001F * static_cast<float>(c)), std.push_back(0.2F + 0.002F * static_cast<float>(c));
  }
  fill_preprocess_table(channels, mean.data(), std.data(), table.data());
  DeviceBuffer device_table(table.size() * 4);
  device_table.upload(table);
  Random random(5);
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 7}, {16, 5}}) {
    for (const Pitch pitch : {Pitch::kDense, Pitch::kPadded}) {
      const ImageShape shape{channels, h, w};
      std::vector<uint8_t> pixels(static_cast<size_t>(3 * shape.elements()));
      for (uint8_t& p : pixels) p = static_cast<uint8_t>(random.below(256));
      DeviceBuffer source(pixels.size(), 1);  // no alignment is asked for
      source.upload(pixels);
      const DeviceActivation y(dtype, 3, shape, pitch_of(channels, pitch));
      launch_preprocess(source.as<uint8_t>(), device_table.as<float>(), y.view(), nullptr);
      const std::vector<float> got = y.values();
      for (size_t i = 0; i < got.size(); ++i) {
        const size_t positions = static_cast<size_t>(shape.positions()), p = i % positions;
        const size_t c = i / positions % static_cast<size_t>(channels), n = i / positions / static_cast<size_t>(channels);
        const uint8_t pixel = pixels[(n * positions + p) * static_cast<size_t>(channels) + c];
        const float unit = static_cast<float>(pixel) / 255.0F, centred = unit - mean[c];
        ASSERT_EQ(got[i], rounded_to(static_cast<double>(centred / std[c]), dtype)) << i;
      }
      EXPECT_EQ(y.dirty_padding(), 0);
    }
  }
}

TEST_P(LayoutCase, ChannelMapsCopyAndZero) {
  const auto [dtype, channels] = GetParam();
  for (const int64_t stride : {1, 2, 3}) {
    const ImageShape in{channels, 7, 6}, out{channels + 5, (7 + stride - 1) / stride, (6 + stride - 1) / stride};
    std::vector<int32_t> source;
    for (int64_t d = 0; d < out.channels; ++d) {
      source.push_back(d % 4 == 3 ? -1 : static_cast<int32_t>((d * 5 + 1) % channels));
    }
    check_channel_map(source, channels);
    DeviceBuffer table(source.size() * 4);
    table.upload(source);
    const auto values = random_values(2, in, dtype, 6);
    const DeviceActivation x(dtype, 2, in, pitch_of(channels, Pitch::kPadded), values);
    const DeviceActivation y(dtype, 2, out, pitch_of(out.channels, stride == 2 ? Pitch::kDense : Pitch::kPadded));
    launch_channel_map(x.view(), table.as<int32_t>(), stride, y.view(), {}, nullptr);
    std::vector<float> want;
    for (int64_t n = 0; n < 2; ++n) {
      for (int64_t d = 0; d < out.channels; ++d) {
        for (int64_t p = 0; p < out.height; ++p) {
          for (int64_t q = 0; q < out.width; ++q) {
            const int64_t from = source[static_cast<size_t>(d)];
            const int64_t at = ((n * channels + from) * in.height + p * stride) * in.width + q * stride;
            want.push_back(from < 0 ? 0.0F : values[static_cast<size_t>(at)]);
          }
        }
      }
    }
    EXPECT_EQ(y.values(), want) << "stride " << stride;
    EXPECT_EQ(y.dirty_padding(), 0);
  }
}

TEST_P(LayoutCase, ChannelScaleMultipliesAndRoundsOnce) {
  const auto [dtype, channels] = GetParam();
  for (const Pitch pitch : {Pitch::kDense, Pitch::kPadded}) {
    const ImageShape shape{channels, 5, 6};
    const auto values = random_values(3, shape, dtype, 6), factors = random_values(3, {channels, 1, 1}, dtype, 7);
    const DeviceActivation x(dtype, 3, shape, pitch_of(channels, pitch), values);
    const DeviceActivation s(dtype, 3, {channels, 1, 1}, pitch_of(channels, Pitch::kPadded), factors);
    const DeviceActivation y(dtype, 3, shape, pitch_of(channels, pitch));
    launch_channel_scale(x.view(), s.view(), y.view(), {}, nullptr);
    std::vector<float> want;
    for (size_t i = 0; i < values.size(); ++i) {
      const float product = values[i] * factors[i / static_cast<size_t>(shape.positions())];
      want.push_back(rounded_to(static_cast<double>(product), dtype));
    }
    EXPECT_EQ(y.values(), want);
    EXPECT_EQ(y.dirty_padding(), 0);
    launch_channel_scale(x.view(), s.view(), x.view(), {}, nullptr);
    EXPECT_EQ(x.values(), want) << "in place";
    EXPECT_THROW(launch_channel_scale(x.view(), x.view(), y.view(), {}, nullptr), ContractError);
  }
}

TEST_P(LayoutCase, WeightsAreTransposedPaddedAndRounded) {
  const auto [dtype, channels] = GetParam();
  for (const auto& [r, s] : {std::pair<int64_t, int64_t>{1, 1}, {3, 3}, {2, 5}}) {
    const int64_t k = 5, padded_k = 8, padded_c = (channels + 7) / 8 * 8;
    Random random(7);
    std::vector<float> kcrs(static_cast<size_t>(k * channels * r * s));
    for (float& w : kcrs) w = static_cast<float>(random.normal());
    DeviceBuffer from(kcrs.size() * 4);
    from.upload(kcrs);
    const DeviceBuffer to(static_cast<size_t>(padded_k * r * s * padded_c) * size_of(dtype));
    launch_convert_weights({from.as<float>(), to.as<void>(), dtype, k, channels, r, s, padded_k, padded_c}, nullptr, nullptr);
    const std::vector<float> got = decoded(to.download<std::byte>(), dtype);
    for (size_t i = 0; i < got.size(); ++i) {
      const auto index = static_cast<int64_t>(i), c = index % padded_c, tap = index / padded_c % (r * s),
                 out = index / padded_c / (r * s);
      const bool inside = c < channels && out < k;
      const float w = inside ? kcrs[static_cast<size_t>((out * channels + c) * r * s + tap)] : 0.0F;
      ASSERT_EQ(got[i], rounded_to(static_cast<double>(w), dtype)) << i;
    }
  }
}

TEST_P(LayoutCase, NchwAndBack) {
  const auto [dtype, channels] = GetParam();
  for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {7, 7}}) {
    for (const Pitch pitch : {Pitch::kDense, Pitch::kPadded}) {
      const ImageShape shape{channels, h, w};
      const auto values = random_values(3, shape, DType::kF32, 8);
      std::vector<float> want(values);
      for (float& v : want) v = rounded_to(static_cast<double>(v), dtype);
      DeviceBuffer nchw(values.size() * 4);
      const DeviceBuffer back(values.size() * 4);
      nchw.upload(values);
      const DeviceActivation y(dtype, 3, shape, pitch_of(channels, pitch));
      launch_from_nchw(nchw.as<float>(), y.view(), nullptr);
      EXPECT_EQ(y.values(), want);
      EXPECT_EQ(y.dirty_padding(), 0);
      launch_to_nchw(y.view(), back.as<float>(), nullptr);
      EXPECT_EQ(back.download<float>(), want);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, LayoutCase, testing::ValuesIn(kernel_cases()), case_name);

using LayoutKernel = KernelTest;

TEST_F(LayoutKernel, WeightsThatOverflowAreCounted) {
  const std::vector<float> kcrs{1.0F, 65504.0F, 65519.0F, 65520.0F, -1e9F, std::numeric_limits<float>::infinity()};
  DeviceBuffer from(kcrs.size() * 4), to(kcrs.size() * 2), count(8);
  from.upload(kcrs);
  count.upload(std::vector<int64_t>{40});
  launch_convert_weights({from.as<float>(), to.as<void>(), DType::kF16, 6, 1, 1, 1, 6, 1}, count.as<int64_t>(), nullptr);
  EXPECT_EQ(count.download<int64_t>(), std::vector<int64_t>{42});
  EXPECT_EQ(decoded(to.download<std::byte>(), DType::kF16)[2], 65504.0F);
}

TEST_F(LayoutKernel, ASourceOutOfRangeIsFoundOrNan) {
  EXPECT_THROW(check_channel_map(std::vector<int32_t>{0, 3}, 3), ContractError);
  DeviceBuffer table(8);
  table.upload(std::vector<int32_t>{1, 3});
  const DeviceActivation x(DType::kF32, 1, {3, 1, 1}, 3, {1, 2, 3}), y(DType::kF32, 1, {2, 1, 1}, 2);
  launch_channel_map(x.view(), table.as<int32_t>(), 1, y.view(), {}, nullptr);
  EXPECT_EQ(y.values()[0], 2.0F);
  EXPECT_TRUE(std::isnan(y.values()[1]));
}

TEST_F(LayoutKernel, RefusesWhatDoesNotFit) {
  const DeviceActivation x(DType::kF32, 1, {3, 4, 4}, 3), y(DType::kF32, 1, {3, 2, 3}, 3);
  const DeviceBuffer some(1024);
  float table[256];
  const float zero = 0, one = 1;
  EXPECT_THROW(fill_preprocess_table(1, &zero, &zero, table), ContractError);
  EXPECT_THROW(fill_preprocess_table(0, &zero, &one, table), ContractError);
  EXPECT_THROW(launch_preprocess(nullptr, some.as<float>(), x.view(), nullptr), ContractError);
  EXPECT_THROW(launch_channel_map(x.view(), some.as<int32_t>(), 2, y.view(), {}, nullptr), ContractError);
  EXPECT_THROW(launch_channel_map(x.view(), nullptr, 1, x.view(), {}, nullptr), ContractError);
  EXPECT_THROW(launch_convert_weights({some.as<float>(), some.as<void>(), DType::kF16, 4, 4, 1, 1, 3, 4}, nullptr, nullptr),
               ContractError);
  EXPECT_THROW(launch_convert_weights({some.as<float>(), some.as<void>(), DType::kI32, 4, 4, 1, 1, 4, 4}, nullptr, nullptr),
               ContractError);
  EXPECT_THROW(launch_to_nchw(x.view(), nullptr, nullptr), ContractError);
  EXPECT_THROW(launch_from_nchw(nullptr, x.view(), nullptr), ContractError);
}

}  // namespace
}  // namespace elek::test
