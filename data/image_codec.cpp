// SPDX-License-Identifier: Apache-2.0
// JPEG and PNG through stb_image. Only this file contains stb_image; its functions are static here, so they cannot clash with
// another copy in a program that links elek.
// Tests: tests/data/image_test.cpp, tests/data/image_folder_test.cpp
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb/stb_image.h>

#include <limits>
#include <memory>

#include "core/error.h"
#include "data/image.h"

namespace elek {
namespace {

struct FreePixels {
  void operator()(stbi_uc* pixels) const noexcept { stbi_image_free(pixels); }
};

bool is_jpeg(std::span<const uint8_t> file) {
  return file.size() >= 3 && file[0] == 0xff && file[1] == 0xd8 && file[2] == 0xff;
}

// Walks over the segments to the end-of-image marker. Segments are skipped by their length, because an EXIF thumbnail holds
// markers of its own. Inside coded data, FF is followed by 00 or by a restart marker.
bool jpeg_is_whole(std::span<const uint8_t> file) {
  size_t at = 2;
  while (at + 1 < file.size()) {
    if (file[at] != 0xff) {
      ++at;  // coded data
      continue;
    }
    const uint8_t marker = file[at + 1];
    if (marker == 0xd9) return true;
    if (marker == 0xff) {
      ++at;  // a fill byte
    } else if (marker == 0x00 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;  // a stuffed FF, or a marker without a segment
    } else {
      if (at + 3 >= file.size()) return false;
      at += 2 + (size_t{file[at + 2]} << 8 | size_t{file[at + 3]});
    }
  }
  return false;
}

}  // namespace

void decode_image(std::span<const uint8_t> file, const ImageShape& shape, std::span<uint8_t> pixels, const std::string& where) {
  const auto refuse = [&where](const std::string& what) { throw InputError(where + ": " + what); };
  const auto reason = [] { return std::string(stbi_failure_reason() != nullptr ? stbi_failure_reason() : "no reason given"); };
  if (file.size() > static_cast<size_t>(std::numeric_limits<int>::max())) refuse("an image file of 2 GiB or more");
  const int bytes = static_cast<int>(file.size());
  int width = 0;
  int height = 0;
  int channels = 0;
  if (stbi_info_from_memory(file.data(), bytes, &width, &height, &channels) == 0) {
    refuse("cannot be decoded (stb_image: " + reason() + "); expected a JPEG or PNG image");
  }
  if (int64_t{width} * height > kMaxImagePixels) {
    refuse("an image of " + std::to_string(width) + "x" + std::to_string(height) + " pixels; at most " +
           std::to_string(kMaxImagePixels) + " are decoded: scale it down first");
  }
  if (is_jpeg(file) && !jpeg_is_whole(file)) refuse("the JPEG is truncated: it has no end-of-image marker");
  // stb_image converts between grey and colour. From a JPEG, grey is then the luma that the file itself stores.
  const bool convertible = shape.channels == 1 || shape.channels == 3;
  if (!convertible && channels != shape.channels) {
    refuse("image with " + std::to_string(channels) + " channels; the network's input has " + std::to_string(shape.channels));
  }
  const std::unique_ptr<stbi_uc, FreePixels> image(
      stbi_load_from_memory(file.data(), bytes, &width, &height, &channels, static_cast<int>(shape.channels)));
  if (!image) refuse("cannot be decoded (stb_image: " + reason() + ")");
  fit_image({image.get(), {shape.channels, height, width}}, shape, pixels, where);
}

}  // namespace elek
