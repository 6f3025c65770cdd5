// SPDX-License-Identifier: Apache-2.0
// PNG through stb_image, and JPEG through libjpeg-turbo (data/jpeg.h), or through stb_image where that is absent. Only this
// file contains stb_image; its functions are static here, so they cannot clash with another copy in a program that links elek.
// Tests: tests/data/image_test.cpp, tests/data/jpeg_test.cpp, tests/data/image_folder_test.cpp
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#include <stb/stb_image.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <string_view>

#include "core/error.h"
#include "data/image.h"
#include "data/jpeg.h"

namespace elek {
namespace {

struct FreePixels {
  void operator()(stbi_uc* pixels) const noexcept { stbi_image_free(pixels); }
};

bool is_jpeg(std::span<const uint8_t> file) {
  return file.size() >= 3 && file[0] == 0xff && file[1] == 0xd8 && file[2] == 0xff;
}

/// Whether the marker starts a frame (SOF): its segment says how many components the image has.
bool starts_frame(uint8_t marker) {
  return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
}

/// What is wrong with a JPEG, or an empty text. Walks over the segments to the end-of-image marker. Segments are skipped by
/// their length, because an EXIF thumbnail holds markers of its own. Inside coded data, FF is followed by 00 or by a restart
/// marker. Four components without Adobe's segment are refused: stb_image takes them as colour with a fourth plane to be left
/// out, libjpeg as CMYK, and the file does not say which is meant.
std::string jpeg_fault(std::span<const uint8_t> file) {
  constexpr std::string_view kAdobe = "Adobe";
  constexpr size_t kComponents = 9;  // from the marker to the number of components in SOF
  bool four = false, adobe = false;
  const auto verdict = [&] {
    return four && !adobe
               ? "a JPEG of four components without Adobe's segment, which does not say what they mean; convert it to RGB"
               : "";
  };
  std::string truncated = "the JPEG is truncated: it has no end-of-image marker";
  size_t at = 2;
  while (at + 1 < file.size()) {
    if (file[at] != 0xff) {
      ++at;  // coded data
      continue;
    }
    const uint8_t marker = file[at + 1];
    if (marker == 0xd9) return verdict();
    if (marker == 0xff) {
      ++at;  // a fill byte
    } else if (marker == 0x00 || marker == 0x01 || (marker >= 0xd0 && marker <= 0xd7)) {
      at += 2;  // a stuffed FF, or a marker without a segment
    } else {
      if (at + 3 >= file.size()) return truncated;
      if (starts_frame(marker) && at + kComponents < file.size()) four = four || file[at + kComponents] == 4;
      if (marker == 0xee && at + 4 + kAdobe.size() <= file.size()) {
        adobe = adobe || std::equal(kAdobe.begin(), kAdobe.end(), file.begin() + static_cast<int64_t>(at) + 4);
      }
      at += 2 + (size_t{file[at + 2]} << 8 | size_t{file[at + 3]});
    }
  }
  return truncated;
}

constexpr std::array<uint8_t, 8> kPngSignature{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

bool is_png(std::span<const uint8_t> file) {
  return file.size() >= kPngSignature.size() && std::equal(kPngSignature.begin(), kPngSignature.end(), file.begin());
}

uint32_t big_endian(std::span<const uint8_t> file, size_t at) {
  return uint32_t{file[at]} << 24 | uint32_t{file[at + 1]} << 16 | uint32_t{file[at + 2]} << 8 | uint32_t{file[at + 3]};
}

/// What is wrong with a PNG's chunks, or an empty text. stb_image does not check their sums, and decodes a file with flipped
/// bits into other pixels. A chunk is: length, type, data, CRC-32 of type and data (PNG specification, section 5.3).
std::string png_fault(std::span<const uint8_t> file) {
  constexpr size_t kAround = 12;  // bytes of a chunk besides its data
  for (size_t at = kPngSignature.size(); file.size() - at >= kAround;) {
    const size_t length = big_endian(file, at);
    std::string type(file.begin() + static_cast<int64_t>(at) + 4, file.begin() + static_cast<int64_t>(at) + 8);
    for (char& c : type) c = c >= ' ' && c <= '~' ? c : '?';
    const std::string what = "chunk " + type + " at byte " + std::to_string(at);
    if (length > file.size() - at - kAround) return "the PNG is truncated in its " + what;
    const uLong sum = crc32(0, file.data() + at + 4, static_cast<uInt>(length + 4));
    if (sum != big_endian(file, at + 8 + length)) return "the PNG is damaged: the CRC of its " + what + " is wrong";
    if (type == "IEND") return "";
    at += kAround + length;
  }
  return "the PNG is truncated: it has no IEND chunk";
}

/// Channels that stb_image is asked for: grey or colour as in the file, without alpha; all of them if the network takes another
/// number.
int channels_wanted(int in_file, const ImageShape& shape) {
  if (shape.channels != 1 && shape.channels != 3) return in_file;
  return in_file <= 2 ? 1 : 3;
}

DecodedImage decode_with_stb(std::span<const uint8_t> file, const ImageShape& shape, const std::string& where) {
  const auto refuse = [&where](const std::string& what) { throw InputError(where + ": " + what); };
  const auto reason = [] { return std::string(stbi_failure_reason() != nullptr ? stbi_failure_reason() : "no reason given"); };
  const int bytes = static_cast<int>(file.size());
  int width = 0;
  int height = 0;
  int channels = 0;
  if (stbi_info_from_memory(file.data(), bytes, &width, &height, &channels) == 0) {
    refuse("cannot be decoded (stb_image: " + reason() + "); expected a JPEG or PNG image");
  }
  if (int64_t{width} * height > kMaxImagePixels) refuse(too_many_pixels(width, height, kMaxImagePixels));
  if (is_png(file)) {
    if (const std::string fault = png_fault(file); !fault.empty()) refuse(fault);
  }
  if (is_jpeg(file)) {
    if (const std::string fault = jpeg_fault(file); !fault.empty()) refuse(fault);
  }
  const int wanted = channels_wanted(channels, shape);
  const std::unique_ptr<stbi_uc, FreePixels> image(
      stbi_load_from_memory(file.data(), bytes, &width, &height, &channels, wanted));
  if (!image) refuse("cannot be decoded (stb_image: " + reason() + ")");
  const ImageShape decoded{wanted, height, width};
  return {{image.get(), image.get() + decoded.elements()}, decoded};
}

}  // namespace

std::string too_many_pixels(int64_t width, int64_t height, int64_t most_pixels) {
  return "an image of " + std::to_string(width) + "x" + std::to_string(height) + " pixels; at most " +
         std::to_string(most_pixels) + " are decoded: scale it down first";
}

std::string jpeg_decoder() { return libjpeg_version().empty() ? "stb_image" : std::string(libjpeg_version()); }

void decode_image(std::span<const uint8_t> file, const ImageShape& shape, std::span<uint8_t> pixels, const std::string& where) {
  if (file.size() > static_cast<size_t>(std::numeric_limits<int>::max())) {
    throw InputError(where + ": an image file of 2 GiB or more");
  }
  const DecodedImage image = is_jpeg(file) && !libjpeg_version().empty() ? decode_jpeg(file, kMaxImagePixels, where)
                                                                         : decode_with_stb(file, shape, where);
  fit_image({image.pixels.data(), image.shape}, shape, pixels, where);
}

}  // namespace elek
