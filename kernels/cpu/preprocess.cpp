// SPDX-License-Identifier: Apache-2.0
// See preprocess.h. Table lookups: plain code, no vectors; the first layer's reading of y costs more than writing it.
#include "kernels/cpu/preprocess.h"

#include <cstring>
#include <string>

#include "engine/base/bfloat16.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/walk.h"

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

template <typename T>
void preprocess(const uint8_t* pixels, const float* table, const ActivationView<T>& y, int threads) {
  check_view(y, "preprocess", "y");
  ELEK_CHECK(pixels != nullptr && table != nullptr, "preprocess: no pixels or no table");
  const Geometry g(y);
  const int64_t rows = y.samples * y.shape.height, width = y.shape.width, channels = y.shape.channels;
  const int parts = parts_for(g.elements(), threads, 1 << 16);
  for_parts(parts, [&](int part) {
    for (int64_t row = part_begin(rows, parts, part, 1); row < part_begin(rows, parts, part + 1, 1); ++row) {
      const int64_t n = row / y.shape.height, from = row % y.shape.height * width;
      const uint8_t* const line = pixels + row * width * channels;
      for (int64_t c = 0; c < g.pitch; ++c) {
        T* const to = y.data + g.channel_base(n, c) + from * g.row_stride;
        if (c >= channels) {
          for (int64_t w = 0; w < width; ++w) to[w * g.row_stride] = T();
          continue;
        }
        const float* const values = table + c * kPixelValues;
        for (int64_t w = 0; w < width; ++w) to[w * g.row_stride] = T(values[line[w * channels + c]]);
      }
    }
  });
}

template void preprocess(const uint8_t*, const float*, const ActivationView<float>&, int);
template void preprocess(const uint8_t*, const float*, const ActivationView<BFloat16>&, int);

}  // namespace elek::kernels
