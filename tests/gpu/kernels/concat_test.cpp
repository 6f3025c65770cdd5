// SPDX-License-Identifier: Apache-2.0
// Concatenation on the GPU: every element of the result is that of an input, for every type, odd offsets and pitches. Padding
// channels become zero.
#include "kernels/cuda/concat.h"

#include "tests/gpu/kernels/support.h"

namespace elek::test {
namespace {

using namespace elek::kernels::cuda;  // NOLINT(google-build-using-namespace): a test file

using ConcatCase = KernelCaseTest;

TEST_P(ConcatCase, CopiesEveryElement) {
  const auto [dtype, channels] = GetParam();
  const std::vector<int64_t> widths{channels, 5, 1, 16};
  for (const Pitch pitch : {Pitch::kDense, Pitch::kPadded}) {
    const ImageShape out{channels + 22, 3, 5};
    const DeviceActivation y(dtype, 2, out, pitch_of(out.channels, pitch));
    std::vector<float> want(static_cast<size_t>(2 * out.elements()));
    int64_t first = 0;
    for (const int64_t width : widths) {
      const ImageShape shape{width, 3, 5};
      const auto values = small_integers(static_cast<size_t>(2 * shape.elements()), static_cast<uint64_t>(first + 1));
      const DeviceActivation x(dtype, 2, shape, pitch_of(width, first % 2 == 0 ? Pitch::kDense : Pitch::kPadded), values);
      launch_concat_part(x.view(), y.view(), first, nullptr);
      ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
      for (int64_t n = 0; n < 2; ++n) {
        std::copy_n(values.begin() + n * shape.elements(), shape.elements(),
                    want.begin() + n * out.elements() + first * out.positions());
      }
      first += width;
    }
    EXPECT_EQ(y.values(), want);
    EXPECT_EQ(y.dirty_padding(), 0);
  }
}

TEST(Concat, RefusesWhatDoesNotFit) {
  const DeviceActivation x(DType::kF32, 1, {4, 3, 3}, 4, std::vector<float>(36)), y(DType::kF32, 1, {6, 3, 3}, 8);
  EXPECT_THROW(launch_concat_part(x.view(), y.view(), 3, nullptr), ContractError);
  EXPECT_THROW(launch_concat_part(x.view(), y.view(), -1, nullptr), ContractError);
}

INSTANTIATE_TEST_SUITE_P(Kernels, ConcatCase, testing::ValuesIn(kernel_cases()), case_name);

}  // namespace
}  // namespace elek::test
