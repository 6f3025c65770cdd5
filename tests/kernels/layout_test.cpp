// SPDX-License-Identifier: Apache-2.0
// to_nchw and from_nchw: every layout and back, odd channels, padding lanes made zero.
#include "kernels/cpu/layout.h"

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

TEST(CpuLayout, ThereAndBackIsTheSame) {
  for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
    for (const int64_t channels : {1, 7, 37, 64}) {
      const ImageShape shape{channels, 3, 5};
      const auto values = random_values(static_cast<size_t>(2 * shape.elements()), 3);
      Activation made(2, shape, layout);
      from_nchw(values.data(), made.view(), 2);
      EXPECT_EQ(made.nchw(), values) << name_of(layout) << " " << channels;
      EXPECT_EQ(made.dirty_padding(), 0) << name_of(layout) << " " << channels;
      std::vector<float> back(values.size());
      to_nchw(made.view(), back.data(), 2);
      EXPECT_EQ(back, values) << name_of(layout) << " " << channels;
    }
  }
}

TEST(CpuLayout, RefusesWhatHasNoMemory) {
  float value = 0;
  EXPECT_THROW(to_nchw(ActivationView<float>{nullptr, 1, {1, 1, 1}, Layout::kNchw, 1}, &value, 1), ContractError);
  EXPECT_THROW(from_nchw(nullptr, ActivationView<float>{&value, 1, {1, 1, 1}, Layout::kNchw, 1}, 1), ContractError);
}

}  // namespace
}  // namespace elek::test
