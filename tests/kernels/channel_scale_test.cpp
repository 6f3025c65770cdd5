// SPDX-License-Identifier: Apache-2.0
// channel_scale compared with its definition, exactly (a product of two floats in f32), in every layout, in place and to other
// memory.
#include "kernels/cpu/channel_scale.h"

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

constexpr Layout kLayouts[] = {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c};

TEST(ChannelScale, MultipliesEveryChannelByItsFactor) {
  uint64_t seed = 0;
  for (const int64_t channels : {1, 7, 16, 37}) {
    for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {5, 9}, {14, 14}}) {
      const ImageShape shape{channels, h, w};
      const auto values = random_values(static_cast<size_t>(3 * shape.elements()), ++seed);
      const auto factors = random_values(static_cast<size_t>(3 * channels), ++seed);
      std::vector<float> want;
      for (size_t i = 0; i < values.size(); ++i) want.push_back(values[i] * factors[i / static_cast<size_t>(h * w)]);
      for (const Layout a : kLayouts) {
        for (const Layout b : kLayouts) {
          Activation x(3, shape, a, values), s(3, {channels, 1, 1}, b, factors), y(3, shape, a);
          const int threads = 1 + static_cast<int>(seed % 2);
          channel_scale(x.view(), s.view(), y.view(), nullptr, threads);
          EXPECT_EQ(compare(y.nchw(), want, 0).count, 0) << to_text(3, shape, a) << " factors " << name_of(b);
          EXPECT_EQ(y.dirty_padding(), 0);
          EXPECT_TRUE(y.memory.guards_intact());
          channel_scale(x.view(), s.view(), x.view(), nullptr, threads);
          EXPECT_EQ(compare(x.nchw(), want, 0).count, 0) << "in place";
        }
      }
    }
  }
}

TEST(ChannelScale, SumsAreOfTheOutput) {
  Activation x(1, {2, 2, 2}, Layout::kNChw16c, {1, 2, 3, 4, 5, 6, 7, 8}), y(1, {2, 2, 2}, Layout::kNChw16c);
  Activation s(1, {2, 1, 1}, Layout::kNchw, {2, -1});
  Guarded<double> block(ChannelSums::bytes(16, kActivity, 1) / sizeof(double));
  const ChannelSums sums = ChannelSums::lay_out(block.data(), 2, 16, kActivity, 5, 1);
  sums.reset();
  channel_scale(x.view(), s.view(), y.view(), &sums, 1);
  const SumArrays got = sums.of_thread(0);
  EXPECT_EQ(std::vector<double>(got.sum, got.sum + 2), (std::vector<double>{20, -26}));
  EXPECT_EQ(std::vector<int64_t>(got.active, got.active + 2), (std::vector<int64_t>{2, 0}));
}

TEST(ChannelScale, RefusesFactorsThatDoNotFit) {
  Activation x(1, {2, 2, 2}, Layout::kNchw, std::vector<float>(8)), y(1, {2, 2, 2}, Layout::kNchw);
  Activation three(1, {3, 1, 1}, Layout::kNchw, std::vector<float>(3)),
      image(1, {2, 2, 2}, Layout::kNchw, std::vector<float>(8));
  EXPECT_THROW(channel_scale(x.view(), three.view(), y.view(), nullptr, 1), ContractError);
  EXPECT_THROW(channel_scale(x.view(), image.view(), y.view(), nullptr, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
