// SPDX-License-Identifier: Apache-2.0
// Random changes of an image that do not change its class: mirrored, and moved by a few pixels. So training sees more images
// than there are. Tests: tests/train/distill_test.cpp
#pragma once

#include <cstdint>
#include <span>

#include "core/runtime.h"
#include "elek/types.h"

namespace elek::train {

struct ImageChange {
  bool flip = false;  // left and right
  int64_t down = 0;   // pixels; rows that come in are black
  int64_t right = 0;
};

/// Mirrors half of the images; moves them by up to an eighth of the image in each direction.
[[nodiscard]] ImageChange draw_change(Random& random, const ImageShape& shape, bool flips, bool shifts);

/// from, to: [H, W, C], not overlapping.
void change_image(std::span<const uint8_t> from, const ImageShape& shape, const ImageChange& change, std::span<uint8_t> to);

}  // namespace elek::train
