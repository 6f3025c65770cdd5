// SPDX-License-Identifier: Apache-2.0
// libFuzzer target of the JPEG reader over libjpeg-turbo: any bytes are either refused with an InputError or give as many
// pixels as the image has. Seeds: tests/fixtures/jpeg.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "core/error.h"
#include "data/jpeg.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  constexpr int64_t kMostPixels = 1 << 16;  // larger ones would only be slower
  try {
    const elek::DecodedImage image = elek::decode_jpeg({bytes, size}, kMostPixels, "input");
    const bool grey_or_colour = image.shape.channels == 1 || image.shape.channels == 3;
    if (!grey_or_colour || image.pixels.size() != static_cast<size_t>(image.shape.elements())) std::abort();
  } catch (const elek::InputError&) {  // any other error is a finding
  }
  return 0;
}
