// SPDX-License-Identifier: Apache-2.0
// Fits pixels to a network's input: channels, size, crop.
// Tests: tests/data/image_test.cpp
#include "data/image.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace elek {
namespace {

int64_t enlarged(int64_t side) { return (16 * side + 7) / 14; }  // side / 0.875, rounded to the nearest

// Where a centred window starts. Half a pixel is rounded to even, as in torchvision's CenterCrop (Python's round()).
int64_t centred(int64_t size, int64_t window) {
  const int64_t rest = size - window;
  return rest / 2 + (rest % 4 == 3 ? 1 : 0);
}

std::vector<uint8_t> to_luma(const PixelView& image) {
  std::vector<uint8_t> grey(static_cast<size_t>(image.shape.positions()));
  const uint8_t* p = image.pixels;
  for (uint8_t& value : grey) {
    value = static_cast<uint8_t>((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 32768) >> 16);
    p += 3;
  }
  return grey;
}

void resize(const PixelView& image, const ImageShape& shape, std::span<uint8_t> pixels) {
  if (image.shape.height == shape.height && image.shape.width == shape.width) {
    copy_pixels(image, pixels);
    return;
  }
  const ResizedSize size = resized_size(image.shape, shape);
  resize_and_crop(image, size, centred(size.height, shape.height), centred(size.width, shape.width), shape.height, shape.width,
                  pixels);
}

}  // namespace

void copy_pixels(const PixelView& image, std::span<uint8_t> pixels) {
  ELEK_CHECK(pixels.size() == static_cast<size_t>(image.shape.elements()),
             "a buffer of " + std::to_string(pixels.size()) + " bytes for an image of " + to_string(image.shape));
  std::memcpy(pixels.data(), image.pixels, pixels.size());
}

ResizedSize resized_size(const ImageShape& image, const ImageShape& shape) {
  const int64_t height = enlarged(shape.height);
  const int64_t width = enlarged(shape.width);
  // The axis that needs the larger factor gets its exact size. The other one keeps the proportion, rounded down.
  if (height * image.width >= width * image.height) return {height, height * image.width / image.height};
  return {width * image.height / image.width, width};
}

void fit_image(const PixelView& image, const ImageShape& shape, std::span<uint8_t> pixels, const std::string& where) {
  ELEK_CHECK(pixels.size() == static_cast<size_t>(shape.elements()),
             "a buffer of " + std::to_string(pixels.size()) + " bytes for an input of " + to_string(shape));
  const int64_t from = image.shape.channels;
  if (from == shape.channels) {
    resize(image, shape, pixels);
  } else if (from == 3 && shape.channels == 1) {
    const std::vector<uint8_t> grey = to_luma(image);
    resize({grey.data(), {1, image.shape.height, image.shape.width}}, shape, pixels);
  } else if (from == 1 && shape.channels == 3) {
    // Copies grey into the last third, then spreads it from the front. Pixel i is read (at 2/3 + i) no later than it is
    // overwritten (at 3i).
    const size_t positions = static_cast<size_t>(shape.positions());
    const std::span<uint8_t> grey = pixels.last(positions);
    resize(image, {1, shape.height, shape.width}, grey);
    for (size_t i = 0; i < positions; ++i) {
      const uint8_t value = grey[i];
      std::fill_n(pixels.data() + 3 * i, 3, value);
    }
  } else {
    throw InputError(where + ": image with " + std::to_string(from) + " channels; the network's input has " +
                     std::to_string(shape.channels));
  }
}

}  // namespace elek
