// SPDX-License-Identifier: Apache-2.0
// Preprocessing compared bit for bit with torchvision 0.29 (ToTensor, Normalize with ImageNet's mean and deviation).
#include "kernels/cpu/preprocess.h"

#include <bit>

#include "tests/kernels/kernel_case.h"

namespace elek::test {
namespace {

using namespace elek::kernels;       // NOLINT(google-build-using-namespace): a test file
using namespace elek::kernels::cpu;  // NOLINT(google-build-using-namespace): a test file

constexpr float kMean[] = {0.485F, 0.456F, 0.406F}, kStd[] = {0.229F, 0.224F, 0.225F};

TEST(Preprocess, TableIsTorchvisionsBitForBit) {
  std::vector<float> table(3 * 256);
  fill_preprocess_table(3, kMean, kStd, table.data());
  // Bits of pixels 0, 1, 100, 128, 200, 255 and a hash over all 256, a channel a line.
  const uint32_t bits[3][6] = {{0xc0078bbd, 0xc006732b, 0xbecf9456, 0x3d97af32, 0x3fa74d4f, 0x400fee1d},
                               {0xc0024924, 0xc0012a4f, 0xbe91ed5a, 0x3e521b48, 0x3fbb9b9c, 0x401b6db7},
                               {0xbfe6f809, 0xbfe4bcea, 0xbd7c019d, 0x3eda5d3c, 0x3fd737ef, 0x4028f5c3}};
  const uint64_t hashes[3] = {0x1fb3762ab01e6b8e, 0x7e55fce0283052f5, 0xbd01b28cf74542bb};
  const size_t pixels[6] = {0, 1, 100, 128, 200, 255};
  for (size_t c = 0; c < 3; ++c) {
    for (size_t i = 0; i < 6; ++i)
      EXPECT_EQ(std::bit_cast<uint32_t>(table[c * 256 + pixels[i]]), bits[c][i]) << c << " " << pixels[i];
    EXPECT_EQ(hash_bytes(table.data() + c * 256, 256 * sizeof(float)), hashes[c]) << c;
  }
}

TEST(Preprocess, EveryLayoutGetsEveryPixelAndZeroPadding) {
  for (const ImageShape& shape : {ImageShape{3, 5, 9}, ImageShape{1, 1, 1}, ImageShape{17, 3, 2}, ImageShape{3, 64, 64}}) {
    for (const Layout layout : {Layout::kNchw, Layout::kNhwc, Layout::kNChw8c, Layout::kNChw16c}) {
      for (const int threads : {1, 2}) {
        Random random(8);
        std::vector<uint8_t> pixels(static_cast<size_t>(3 * shape.elements()));
        for (uint8_t& p : pixels) p = static_cast<uint8_t>(random.below(256));
        std::vector<float> table(static_cast<size_t>(shape.channels) * 256);
        for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<float>(i);
        Activation y(3, shape, layout);
        preprocess(pixels.data(), table.data(), y.view(), threads);
        for (int64_t n = 0; n < 3; ++n) {
          for (int64_t p = 0; p < shape.positions(); ++p) {
            for (int64_t c = 0; c < shape.channels; ++c) {
              const uint8_t pixel = pixels[static_cast<size_t>((n * shape.positions() + p) * shape.channels + c)];
              ASSERT_EQ(y.at(n, c, p), static_cast<float>(c * 256 + pixel))
                  << to_text(n, shape, layout) << " " << c << " " << p;
            }
          }
        }
        EXPECT_EQ(y.dirty_padding(), 0);
        EXPECT_TRUE(y.memory.guards_intact());
      }
    }
  }
}

TEST(Preprocess, RefusesADeviationThatIsNotPositive) {
  float table[256];
  const float zero = 0, nan = std::nanf(""), mean = 0;
  EXPECT_THROW(fill_preprocess_table(1, &mean, &zero, table), ContractError);
  EXPECT_THROW(fill_preprocess_table(1, &mean, &nan, table), ContractError);
}

}  // namespace
}  // namespace elek::test
