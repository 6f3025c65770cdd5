// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/preprocess_test.cpp
#include "kernels/common/preprocess_table.h"

#include <string>

#include "core/error.h"

namespace elek::kernels {

void fill_preprocess_table(int64_t channels, const float* mean, const float* std, float* table) {
  ELEK_CHECK(channels >= 1 && mean != nullptr && std != nullptr && table != nullptr,
             "preprocess table: " + std::to_string(channels) + " channels, or an array is missing");
  for (int64_t c = 0; c < channels; ++c) {
    ELEK_CHECK(std[c] > 0, "preprocess table: std[" + std::to_string(c) + "] is " + std::to_string(std[c]) + ", expected > 0");
    for (int64_t p = 0; p < kPixelValues; ++p) {
      const float unit = static_cast<float>(p) / 255.0F;  // three roundings, in torchvision's order
      const float centred = unit - mean[c];
      table[c * kPixelValues + p] = centred / std[c];
    }
  }
}

}  // namespace elek::kernels
