// SPDX-License-Identifier: Apache-2.0
// See preprocess.h. Table lookups: plain code without vectors. A channel's table is rounded to y's type once per 16 rows of
// pixels, not once per pixel.
#include "kernels/cpu/preprocess.h"

#include <algorithm>
#include <array>
#include <string>
#include <type_traits>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/detail/walk.h"
#include "kernels/cpu/stored_types.h"

namespace elek::kernels::cpu {
namespace {

constexpr int64_t kRowsATable = 16;  // their pixels and results stay in the L1 cache for all channels

/// Channel c of rows [first, last), counted over all samples; zeros if c is padding.
template <typename T>
void write_channel(const uint8_t* pixels, const float* table, const ActivationView<T>& y, const Geometry& g, int64_t c,
                   int64_t first, int64_t last) {
  const int64_t width = y.shape.width, channels = g.channels;
  const T* values = nullptr;
  std::array<T, kPixelValues> rounded;
  if (c < channels) {
    const float* const exact = table + c * kPixelValues;
    if constexpr (std::is_same_v<T, float>) {
      values = exact;
    } else {
      std::transform(exact, exact + kPixelValues, rounded.begin(), [](float v) { return T(v); });
      values = rounded.data();
    }
  }
  for (int64_t row = first; row < last; ++row) {
    T* const to = y.data + g.channel_base(row / y.shape.height, c) + row % y.shape.height * width * g.row_stride;
    const uint8_t* const from = pixels + row * width * channels + c;
    if (c < channels) {
      for (int64_t w = 0; w < width; ++w) to[w * g.row_stride] = values[from[w * channels]];
    } else {
      for (int64_t w = 0; w < width; ++w) to[w * g.row_stride] = T();
    }
  }
}

}  // namespace

template <typename T>
void preprocess(const uint8_t* pixels, const float* table, const ActivationView<T>& y, int threads) {
  check_view(y, "preprocess", "y");
  ELEK_CHECK(pixels != nullptr && table != nullptr, "preprocess: no pixels or no table");
  const Geometry g(y);
  const int64_t rows = y.samples * y.shape.height;
  const int parts = parts_for(g.elements(), threads, 1 << 16);
  for_parts(parts, [&](int part) {
    const int64_t end = part_begin(rows, parts, part + 1, 1);
    for (int64_t row = part_begin(rows, parts, part, 1); row < end; row += kRowsATable) {
      for (int64_t c = 0; c < g.pitch; ++c) write_channel(pixels, table, y, g, c, row, std::min(row + kRowsATable, end));
    }
  });
}

#define ELEK_INSTANTIATE(T, suffix, dtype) \
  template void preprocess(const uint8_t*, const float*, const ActivationView<T>&, int);
ELEK_STORED_TYPES(ELEK_INSTANTIATE)
#undef ELEK_INSTANTIATE

}  // namespace elek::kernels::cpu
