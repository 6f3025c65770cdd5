// SPDX-License-Identifier: Apache-2.0
// Antialiased bilinear resize. The fixed-point arithmetic is Pillow's (22 bits, rounded half up, 8-bit rows between the two
// passes). So an image becomes exactly the bytes on which a torchvision pipeline trained the network. Tests:
// tests/data/image_test.cpp
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "core/error.h"
#include "data/image.h"

namespace elek {
namespace {

constexpr int kWeightBits = 22;  // 255 * 2^22 < 2^30: sums fit in 32 bits, with room for rounding
constexpr int32_t kHalf = 1 << (kWeightBits - 1);

// Which inputs contribute to each output along one axis, and with which weights.
struct Taps {
  std::vector<int64_t> first;    // [outputs]
  std::vector<size_t> count;     // [outputs]
  std::vector<int32_t> weights;  // [outputs, stride]
  size_t stride = 0;
};

Taps make_taps(int64_t in, int64_t out, int64_t begin, int64_t outputs) {
  const double scale = static_cast<double>(in) / static_cast<double>(out);
  const double support = std::max(scale, 1.0);
  Taps taps;
  taps.stride = static_cast<size_t>(std::ceil(support)) * 2 + 1;
  taps.weights.resize(static_cast<size_t>(outputs) * taps.stride);
  std::vector<double> exact(taps.stride);
  for (int64_t i = 0; i < outputs; ++i) {
    const double center = (static_cast<double>(begin + i) + 0.5) * scale;
    const int64_t first = std::max<int64_t>(0, static_cast<int64_t>(center - support + 0.5));
    const int64_t last = std::min(in, static_cast<int64_t>(center + support + 0.5));
    const size_t count = static_cast<size_t>(last - first);
    double sum = 0;
    for (size_t k = 0; k < count; ++k) {
      const double distance = (static_cast<double>(k) + static_cast<double>(first) - center + 0.5) * (1.0 / support);
      exact[k] = std::max(0.0, 1.0 - std::abs(distance));
      sum += exact[k];
    }
    int32_t* weights = taps.weights.data() + static_cast<size_t>(i) * taps.stride;
    for (size_t k = 0; k < count; ++k) weights[k] = static_cast<int32_t>(0.5 + exact[k] / sum * (1 << kWeightBits));
    taps.first.push_back(first);
    taps.count.push_back(count);
  }
  return taps;
}

uint8_t to_byte(int32_t sum) { return static_cast<uint8_t>(std::clamp(sum >> kWeightBits, 0, 255)); }

void resize_row(const uint8_t* row, size_t channels, const Taps& taps, uint8_t* out) {
  for (size_t x = 0; x < taps.first.size(); ++x) {
    const int32_t* weights = taps.weights.data() + x * taps.stride;
    const uint8_t* source = row + static_cast<size_t>(taps.first[x]) * channels;
    for (size_t c = 0; c < channels; ++c) {
      int32_t sum = kHalf;
      for (size_t k = 0; k < taps.count[x]; ++k) sum += source[k * channels + c] * weights[k];
      *out++ = to_byte(sum);
    }
  }
}

}  // namespace

void resize_and_crop(const PixelView& image, const ResizedSize& size, int64_t top, int64_t left, int64_t out_height,
                     int64_t out_width, std::span<uint8_t> pixels) {
  const size_t channels = static_cast<size_t>(image.shape.channels);
  const size_t row_elems = static_cast<size_t>(out_width) * channels;
  ELEK_CHECK(top >= 0 && left >= 0 && out_height > 0 && out_width > 0 && top + out_height <= size.height &&
                 left + out_width <= size.width && pixels.size() == static_cast<size_t>(out_height) * row_elems,
             "crop of " + std::to_string(out_height) + "x" + std::to_string(out_width) + " from " +
                 std::to_string(size.height) + "x" + std::to_string(size.width));
  const Taps across = make_taps(image.shape.width, size.width, left, out_width);
  const Taps down = make_taps(image.shape.height, size.height, top, out_height);
  const int64_t first_row = down.first.front();
  const size_t rows = static_cast<size_t>(down.first.back() - first_row) + down.count.back();
  std::vector<uint8_t> narrow(rows * row_elems);
  const size_t pitch = static_cast<size_t>(image.shape.width) * channels;
  for (size_t row = 0; row < rows; ++row) {
    const uint8_t* source = image.pixels + (static_cast<size_t>(first_row) + row) * pitch;
    resize_row(source, channels, across, narrow.data() + row * row_elems);
  }
  std::vector<int32_t> sums(row_elems);
  for (size_t y = 0; y < down.first.size(); ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const uint8_t* source = narrow.data() + static_cast<size_t>(down.first[y] - first_row) * row_elems;
    for (size_t k = 0; k < down.count[y]; ++k) {
      const int32_t weight = down.weights[y * down.stride + k];
      for (size_t i = 0; i < row_elems; ++i) sums[i] += source[k * row_elems + i] * weight;
    }
    std::transform(sums.begin(), sums.end(), pixels.data() + y * row_elems, to_byte);
  }
}

}  // namespace elek
