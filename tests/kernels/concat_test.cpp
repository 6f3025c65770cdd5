// SPDX-License-Identifier: Apache-2.0
// Concatenation: every element of the result is that of an input, bit for bit, for all pairs of layouts and odd offsets.
// Padding lanes become zero.
#include "kernels/cpu/concat.h"

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using kernels::cpu::concat_part;

void expect_joined(const std::vector<int64_t>& widths, int64_t samples, const ImageShape& each, Layout from, Layout to,
                   int threads) {
  ImageShape out = each;
  out.channels = 0;
  for (const int64_t width : widths) out.channels += width;
  Activation y(samples, out, to, /*extra_pitch=*/3);
  std::vector<float> want(static_cast<size_t>(samples * out.elements()));
  int64_t first = 0;
  for (const int64_t width : widths) {
    const ImageShape shape{width, each.height, each.width};
    const auto values = small_integers(static_cast<size_t>(samples * shape.elements()), static_cast<uint64_t>(first + 1), 1000);
    Activation x(samples, shape, from, values);
    concat_part(x.view(), y.view(), first, threads);
    EXPECT_TRUE(x.memory.guards_intact());
    for (int64_t n = 0; n < samples; ++n) {
      std::copy_n(values.begin() + n * shape.elements(), shape.elements(),
                  want.begin() + n * out.elements() + first * out.positions());
    }
    first += width;
  }
  EXPECT_EQ(y.nchw(), want);
  EXPECT_EQ(y.dirty_padding(), 0);
  EXPECT_TRUE(y.memory.guards_intact());
}

TEST(Concat, CopiesEveryElementInEveryLayout) {
  const std::vector<std::vector<int64_t>> widths = {{16, 16}, {1, 2}, {13, 3, 9}, {37, 5, 16, 22}, {8, 8, 1}, {5, 64}};
  for (const Layout from : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
    for (const Layout to : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      for (const auto& each : widths) {
        for (const ImageShape& shape : {ImageShape{0, 1, 1}, ImageShape{0, 5, 9}}) {
          SCOPED_TRACE(std::string(name_of(from)) + " to " + std::string(name_of(to)) + ", " + std::to_string(each[0]) +
                       " of " + std::to_string(each.size()) + " at " + to_string(shape));
          expect_joined(each, 3, shape, from, to, 2);
        }
      }
    }
  }
}

TEST(Concat, LargeMapsOnSeveralThreads) { expect_joined({33, 64, 7}, 2, {0, 28, 30}, Layout::kNChw16c, Layout::kNChw16c, 3); }

TEST(Concat, RefusesWhatDoesNotFit) {
  Activation x(1, {4, 3, 3}, Layout::kNchw, std::vector<float>(36)), y(1, {6, 3, 3}, Layout::kNchw),
      z(1, {6, 3, 4}, Layout::kNchw);
  EXPECT_THROW(concat_part(x.view(), y.view(), 3, 1), ContractError);
  EXPECT_THROW(concat_part(x.view(), y.view(), -1, 1), ContractError);
  EXPECT_THROW(concat_part(x.view(), z.view(), 0, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
