// SPDX-License-Identifier: Apache-2.0
// channel_map compared with its definition: option-A shortcuts, masks, permutations, strides, every pair of layouts.
#include "kernels/cpu/channel_map.h"

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

TEST(ChannelMap, CopiesFromItsSourceOrWritesZero) {
  constexpr Layout kLayouts[] = {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c};
  uint64_t seed = 0;
  for (const auto& [from, to] : {std::pair<int64_t, int64_t>{16, 32}, {7, 20}, {64, 37}, {1, 1}, {129, 128}}) {
    for (const auto& [h, w] : {std::pair<int64_t, int64_t>{1, 1}, {5, 9}, {14, 14}}) {
      for (const int64_t stride : {1, 2, 3}) {
        Random random(++seed);
        std::vector<int32_t> source;
        for (int64_t d = 0; d < to; ++d)
          source.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(from + 2))) - 2);
        const ImageShape in{from, h, w}, out{to, (h + stride - 1) / stride, (w + stride - 1) / stride};
        const auto values = random_values(static_cast<size_t>(3 * in.elements()), seed);
        std::vector<float> want;
        for (int64_t i = 0; i < 3 * to; ++i) {
          const int32_t s = source[static_cast<size_t>(i % to)];
          for (int64_t p = 0; p < out.height; ++p) {
            for (int64_t q = 0; q < out.width; ++q) {
              want.push_back(s < 0 ? 0 : values[static_cast<size_t>(((i / to * from + s) * h + p * stride) * w + q * stride)]);
            }
          }
        }
        for (const Layout a : kLayouts) {
          for (const Layout b : kLayouts) {
            Activation x(3, in, a, values), y(3, out, b);
            channel_map(x.view(), source, stride, y.view(), nullptr, 1 + static_cast<int>(seed % 2));
            const Mismatch m = compare(y.nchw(), want, 0);
            EXPECT_EQ(m.count, 0) << to_text(3, in, a) << " " << to_text(3, out, b) << m.message();
            EXPECT_EQ(y.dirty_padding(), 0);
            EXPECT_TRUE(y.memory.guards_intact());
          }
        }
      }
    }
  }
}

TEST(ChannelMap, SumsAreOfTheOutput) {
  Activation x(1, {2, 2, 2}, Layout::kNChw16c, {1, 2, 3, 4, 5, 6, 7, 8}), y(1, {3, 2, 2}, Layout::kNChw16c);
  Guarded<double> block(ChannelSums::bytes(16, kActivity, 1) / sizeof(double));
  const ChannelSums sums = ChannelSums::lay_out(block.data(), 3, 16, kActivity, 5, 1);
  sums.reset();
  channel_map(x.view(), std::vector<int32_t>{1, -1, 0}, 1, y.view(), &sums, 1);
  const SumArrays got = sums.of_thread(0);
  EXPECT_EQ(std::vector<double>(got.sum, got.sum + 3), (std::vector<double>{26, 0, 10}));
  EXPECT_EQ(std::vector<int64_t>(got.active, got.active + 3), (std::vector<int64_t>{3, 0, 0}));
}

TEST(ChannelMap, RefusesASourceThatIsNotThere) {
  Activation x(1, {2, 2, 2}, Layout::kNchw, std::vector<float>(8)), y(1, {2, 2, 2}, Layout::kNchw);
  EXPECT_THROW(channel_map(x.view(), std::vector<int32_t>{0, 2}, 1, y.view(), nullptr, 1), ContractError);
  EXPECT_THROW(channel_map(x.view(), std::vector<int32_t>{0}, 1, y.view(), nullptr, 1), ContractError);
  EXPECT_THROW(channel_map(x.view(), std::vector<int32_t>{0, 1}, 2, y.view(), nullptr, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
