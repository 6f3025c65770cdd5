// SPDX-License-Identifier: Apache-2.0
// Pixels: from an encoded image to the network's input, with the same result as torchvision's Resize (on Pillow's images) and
// CenterCrop.
// Tests: tests/data/image_test.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "elek/types.h"

namespace elek {

/// Dense uint8 pixels [H, W, C].
struct PixelView {
  const uint8_t* pixels = nullptr;
  ImageShape shape;
};

/// Larger images are refused: the decoder needs several bytes per pixel, even for a file of a few hundred bytes.
inline constexpr int64_t kMaxImagePixels = int64_t{1} << 27;

/// One copy. ContractError unless `pixels` has exactly the image's size.
void copy_pixels(const PixelView& image, std::span<uint8_t> pixels);

/// Makes the network's input from `image`. Channels: equal counts are not changed; 1 → 3 repeats grey; 3 → 1 is the luma
/// (19595 R + 38470 G + 7471 B) / 65536, rounded to the nearest, as in Pillow; anything else is an InputError. An image of the
/// input's height and width is not changed; another one goes through resize_and_crop(). `where` names the image.
void fit_image(const PixelView& image, const ImageShape& shape, std::span<uint8_t> pixels, const std::string& where);

/// Decodes a JPEG or PNG and makes the network's input from it. Alpha is dropped, 16 bits are cut to 8, an EXIF orientation is
/// not applied (as in torchvision). InputError with the decoder's reason, for images of more than kMaxImagePixels, and for a
/// JPEG without its end-of-image marker (some versions of stb_image invent the missing pixels of a truncated file).
void decode_image(std::span<const uint8_t> file, const ImageShape& shape, std::span<uint8_t> pixels, const std::string& where);

/// Height and width before the crop: the smallest size, in the image's own proportions, that covers the input's / 0.875
/// (rounded). For a square input the shorter side becomes the input's / 0.875, and the longer side is rounded down.
struct ResizedSize {
  int64_t height = 0;
  int64_t width = 0;
};
[[nodiscard]] ResizedSize resized_size(const ImageShape& image, const ImageShape& shape);

/// Antialiased bilinear resize to `size`. Only the window out_height x out_width at (top, left) is computed.
///   out[x] = sum over i of in[i] t((i + 1/2 - (x + 1/2) s) / max(s, 1)) / sum of the same t,   t(d) = max(0, 1 - |d|), s =
///   in/out
/// first along rows, then along columns, each rounded to 8 bits; weights in 22 bits of fixed point.
/// Numerics  the bits of Pillow's Image.resize(BILINEAR), and the same on every machine
/// Memory    one uint8 image of the needed rows x out_width, and the weights
/// Source    A. Smith, "A pixel is not a little square" for the filter's footprint; Pillow's documentation of the filters
/// Tests     tests/data/image_test.cpp against Pillow
void resize_and_crop(const PixelView& image, const ResizedSize& size, int64_t top, int64_t left, int64_t out_height,
                     int64_t out_width, std::span<uint8_t> pixels);

}  // namespace elek
