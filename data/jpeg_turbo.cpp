// SPDX-License-Identifier: Apache-2.0
// Decodes JPEG with libjpeg-turbo. libjpeg reports an error by a callback that must not return, so the callbacks leave with
// longjmp, which must not jump over destructors. So the functions that call setjmp, and the callbacks, have only plain local
// variables; everything with a destructor lies in decode_jpeg(), which never sees a jump. All settings are libjpeg's defaults,
// because Pillow uses the defaults too.
// Tests: tests/data/jpeg_test.cpp, tests/fuzz/jpeg_fuzz.cpp

// jpeglib.h does not include what it needs, so the order matters.
// clang-format off
#include <cstddef>
#include <cstdio>
#include <jpeglib.h>
#include <jerror.h>
// clang-format on

#include <array>
#include <csetjmp>

#include "core/error.h"
#include "data/jpeg.h"

#define ELEK_JPEG_TEXT_OF(x) #x
#define ELEK_JPEG_TEXT(x) ELEK_JPEG_TEXT_OF(x)

namespace elek {
namespace {

constexpr std::string_view kVersion = "libjpeg-turbo " ELEK_JPEG_TEXT(LIBJPEG_TURBO_VERSION);

/// A progressive file holds an image in several scans; ten are usual. Each one costs a pass over all coefficients but only a
/// few bytes of the file, so a small hostile file could cost hours.
constexpr int kMostScans = 500;

struct Decoder {
  jpeg_decompress_struct info;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf back;
  bool truncated;
  bool too_many_scans;
  std::array<char, JMSG_LENGTH_MAX> reason;
};

Decoder& decoder_of(j_common_ptr info) { return *static_cast<Decoder*>(info->client_data); }

[[noreturn]] void leave(j_common_ptr info) {
  Decoder& decoder = decoder_of(info);
  decoder.errors.format_message(info, decoder.reason.data());
  std::longjmp(decoder.back, 1);  // NOLINT(cert-err52-cpp): the only way out of libjpeg's C code
}

/// After these warnings libjpeg goes on with invented pixels. The others, such as stray bytes between two segments, change
/// nothing.
bool is_damage(int code) {
  return code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_ARITH_BAD_CODE || code == JWRN_MUST_RESYNC ||
         code == JWRN_JPEG_EOF;
}

void on_message(j_common_ptr info, int level) {
  if (level >= 0) return;  // a trace, not a warning
  const int code = info->err->msg_code;
  decoder_of(info).truncated = code == JWRN_JPEG_EOF;
  if (is_damage(code)) leave(info);
}

void print_nothing(j_common_ptr /*info*/) {}

void on_progress(j_common_ptr info) {
  Decoder& decoder = decoder_of(info);
  if (decoder.info.input_scan_number <= kMostScans) return;
  decoder.too_many_scans = true;
  std::longjmp(decoder.back, 1);  // NOLINT(cert-err52-cpp)
}

void prepare(Decoder& decoder) {
  decoder.info.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = leave;
  decoder.errors.emit_message = on_message;
  decoder.errors.output_message = print_nothing;
  decoder.info.client_data = &decoder;
  decoder.progress.progress_monitor = on_progress;
}

/// False if libjpeg gave up. The same for read_pixels().
bool read_header(Decoder& decoder, const uint8_t* file, size_t bytes) {
  if (setjmp(decoder.back) != 0) return false;  // NOLINT(cert-err52-cpp)
  jpeg_create_decompress(&decoder.info);
  decoder.info.progress = &decoder.progress;
  jpeg_mem_src(&decoder.info, file, static_cast<unsigned long>(bytes));  // NOLINT(google-runtime-int): libjpeg's type
  jpeg_read_header(&decoder.info, TRUE);
  return true;
}

bool read_pixels(Decoder& decoder, uint8_t* pixels, size_t row_bytes) {
  if (setjmp(decoder.back) != 0) return false;  // NOLINT(cert-err52-cpp)
  jpeg_start_decompress(&decoder.info);
  while (decoder.info.output_scanline < decoder.info.output_height) {
    JSAMPROW row = pixels + decoder.info.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder.info, &row, 1);
  }
  jpeg_finish_decompress(&decoder.info);  // reads on to the end-of-image marker
  return true;
}

/// Frees what libjpeg allocated.
class Owner {
 public:
  explicit Owner(jpeg_decompress_struct& info) : info_(info) {}
  Owner(const Owner&) = delete;
  Owner& operator=(const Owner&) = delete;
  ~Owner() { jpeg_destroy_decompress(&info_); }

 private:
  jpeg_decompress_struct& info_;
};

[[noreturn]] void refuse(const Decoder& decoder, const std::string& where) {
  if (decoder.truncated) throw InputError(where + ": the JPEG is truncated: it has no end-of-image marker");
  if (decoder.too_many_scans) {
    throw InputError(where + ": the JPEG has more than " + std::to_string(kMostScans) + " scans; save it again as baseline");
  }
  throw InputError(where + ": cannot be decoded (" + std::string(kVersion) + ": " + decoder.reason.data() + ")");
}

/// Inverted inks to RGB, as Pillow converts them: white paper less the black ink, times what the coloured ink lets through.
void inks_to_rgb(std::vector<uint8_t>& pixels) {
  const size_t count = pixels.size() / 4;
  for (size_t i = 0; i < count; ++i) {
    const unsigned paper = pixels[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      const unsigned ink = 255U - pixels[4 * i + c];
      pixels[3 * i + c] = static_cast<uint8_t>(paper - (2 * ink * paper + 255) / 510);  // the product / 255, to the nearest
    }
  }
  pixels.resize(3 * count);
}

}  // namespace

std::string_view libjpeg_version() noexcept { return kVersion; }

DecodedImage decode_jpeg(std::span<const uint8_t> file, int64_t most_pixels, const std::string& where) {
  Decoder decoder{};
  prepare(decoder);
  const Owner owner(decoder.info);
  if (!read_header(decoder, file.data(), file.size())) refuse(decoder, where);
  jpeg_decompress_struct& info = decoder.info;
  const int64_t width = info.image_width, height = info.image_height;
  if (width * height > most_pixels) throw InputError(where + ": " + too_many_pixels(width, height, most_pixels));
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4) {
    throw InputError(where + ": a JPEG of " + std::to_string(info.num_components) + " components; expected 1, 3 or 4");
  }
  info.out_color_space = info.num_components == 1 ? JCS_GRAYSCALE : info.num_components == 3 ? JCS_RGB : JCS_CMYK;
  DecodedImage image{{}, {info.num_components, height, width}};
  image.pixels.resize(static_cast<size_t>(image.shape.elements()));
  if (!read_pixels(decoder, image.pixels.data(), static_cast<size_t>(width * info.num_components))) refuse(decoder, where);
  if (image.shape.channels == 4) {
    inks_to_rgb(image.pixels);
    image.shape.channels = 3;
  }
  return image;
}

}  // namespace elek
