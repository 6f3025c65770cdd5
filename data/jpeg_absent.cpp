// SPDX-License-Identifier: Apache-2.0
// A build without libjpeg-turbo: data/image_codec.cpp decodes JPEG with stb_image.
// Tests: tests/data/jpeg_test.cpp in a build with -DELEK_JPEG=OFF (.ci/run)
#include "core/error.h"
#include "data/jpeg.h"

namespace elek {

std::string_view libjpeg_version() noexcept { return {}; }

DecodedImage decode_jpeg(std::span<const uint8_t> /*file*/, int64_t /*most_pixels*/, const std::string& where) {
  throw InputError(where + ": this elek was built without libjpeg-turbo");
}

}  // namespace elek
