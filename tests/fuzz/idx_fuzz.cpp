// SPDX-License-Identifier: Apache-2.0
// libFuzzer target of the IDX reader: any bytes are either refused with an InputError or give a data set whose samples can all
// be decoded. The first two bytes are the length of the image file; the rest is the label file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/idx.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void read_all(const elek::Dataset& data) {
  const elek::ImageShape shape{3, 5, 4};
  std::vector<uint8_t> pixels(static_cast<size_t>(shape.elements()));
  require(data.size() > 0);
  for (int64_t i = 0; i < std::min<int64_t>(data.size(), 4); ++i) data.decode(i, shape, pixels);
  data.decode(data.size() - 1, shape, pixels);
  require(data.label(data.size() - 1) < data.classes());
  require(data.content_hash(0) == data.content_hash(0));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const std::span<const uint8_t> input(bytes, size);
  try {
    const std::vector<uint8_t> unpacked = elek::unpack_idx({input.begin(), input.end()}, "input");
    const elek::IdxView view = elek::parse_idx(unpacked, "input");
    int64_t product = 1;
    for (const int64_t dim : view.dims) product *= dim;
    require(product == static_cast<int64_t>(view.values.size()));
  } catch (const elek::InputError&) {  // any other error is a finding
  }
  if (size < 2) return 0;
  const size_t image_bytes = std::min<size_t>(size - 2, size_t{bytes[0]} << 8 | size_t{bytes[1]});
  const std::span<const uint8_t> images = input.subspan(2, image_bytes);
  const std::span<const uint8_t> labels = input.subspan(2 + image_bytes);
  try {
    read_all(
        *elek::make_idx_dataset({"images", {images.begin(), images.end()}}, {"labels", {labels.begin(), labels.end()}}, {}));
  } catch (const elek::InputError&) {
  }
  return 0;
}
