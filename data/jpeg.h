// SPDX-License-Identifier: Apache-2.0
// JPEG files through libjpeg-turbo, which gives the same pixels as Pillow. So elek's users see the logits that PyTorch's users
// see. jpeg_turbo.cpp implements this header. Where libjpeg-turbo is not found, or with -DELEK_JPEG=OFF, jpeg_absent.cpp does,
// and image_codec.cpp takes stb_image instead. Must not end the program, and must not print.
// Tests: tests/data/jpeg_test.cpp, tests/fuzz/jpeg_fuzz.cpp
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elek/types.h"

namespace elek {

struct DecodedImage {
  std::vector<uint8_t> pixels;  // dense [H, W, C]
  ImageShape shape;
};

/// "libjpeg-turbo 2.1.5"; empty if elek was built without it.
[[nodiscard]] std::string_view libjpeg_version() noexcept;

/// The pixels of Pillow's Image.open(FILE).convert("RGB"); a grey file stays grey. Four components are inverted inks, whatever
/// the file says, as in Pillow. An EXIF orientation is not applied. InputError, with libjpeg's reason, for a file that is
/// damaged, truncated or larger than `most_pixels`, and if elek was built without libjpeg-turbo.
[[nodiscard]] DecodedImage decode_jpeg(std::span<const uint8_t> file, int64_t most_pixels, const std::string& where);

/// The error text of an image that is too large to decode.
[[nodiscard]] std::string too_many_pixels(int64_t width, int64_t height, int64_t most_pixels);

}  // namespace elek
