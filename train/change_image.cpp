// SPDX-License-Identifier: Apache-2.0
// See change_image.h. Tests: tests/train/distill_test.cpp
#include "train/change_image.h"

#include <algorithm>

#include "core/at.h"

namespace elek::train {

ImageChange draw_change(Random& random, const ImageShape& shape, bool flips, bool shifts) {
  // Always the same number of draws, so that one setting does not change the others' numbers.
  const bool flip = random.below(2) == 1;
  const auto move = [&](int64_t size) {
    const int64_t most = size / 8;
    return static_cast<int64_t>(random.below(static_cast<uint64_t>(2 * most + 1))) - most;
  };
  const int64_t down = move(shape.height), right = move(shape.width);
  return {flips && flip, shifts ? down : 0, shifts ? right : 0};
}

void change_image(std::span<const uint8_t> from, const ImageShape& shape, const ImageChange& change, std::span<uint8_t> to) {
  for (int64_t h = 0; h < shape.height; ++h)
    for (int64_t w = 0; w < shape.width; ++w) {
      const int64_t row = h - change.down, placed = w - change.right;
      const int64_t column = change.flip ? shape.width - 1 - placed : placed;
      uint8_t* const pixel = to.data() + at((h * shape.width + w) * shape.channels);
      if (row < 0 || row >= shape.height || placed < 0 || placed >= shape.width) {
        std::fill_n(pixel, shape.channels, uint8_t{0});
      } else {
        std::copy_n(from.data() + at((row * shape.width + column) * shape.channels), shape.channels, pixel);
      }
    }
}

}  // namespace elek::train
