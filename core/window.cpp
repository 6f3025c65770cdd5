// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/window_test.cpp
#include "elek/window.h"

#include <algorithm>

namespace elek {
namespace {

int64_t positions(int64_t size, int64_t before, int64_t after, int64_t reach, int64_t stride, Rounding rounding) noexcept {
  const int64_t room = size + before + after - reach;
  if (room < 0) return 0;
  const int64_t whole = room / stride + 1;
  const bool one_more = rounding == Rounding::kUp && room % stride != 0 && whole * stride < size + before;
  return one_more ? whole + 1 : whole;
}

}  // namespace

std::string to_string(const Extent& extent) {
  const std::string height = std::to_string(extent.height);
  return extent.is_square() ? height : height + "x" + std::to_string(extent.width);
}

std::string to_string(const Padding& p) {
  const std::string top = std::to_string(p.top);
  return p.is_even() ? top
                     : top + "," + std::to_string(p.left) + "," + std::to_string(p.bottom) + "," + std::to_string(p.right);
}

std::string to_string(const Window& w) {
  const std::string text =
      "kernel " + to_string(w.kernel) + " stride " + to_string(w.stride) + " padding " + to_string(w.padding);
  return w.dilation == Extent(1) ? text : text + " dilation " + to_string(w.dilation);
}

bool is_possible(const Window& w) {
  const int64_t least =
      std::min({w.kernel.height, w.kernel.width, w.stride.height, w.stride.width, w.dilation.height, w.dilation.width,
                w.padding.top + 1, w.padding.left + 1, w.padding.bottom + 1, w.padding.right + 1});
  return least >= 1;
}

ImageShape Window::slide(const ImageShape& input, Rounding rounding) const noexcept {
  return {input.channels, positions(input.height, padding.top, padding.bottom, reach().height, stride.height, rounding),
          positions(input.width, padding.left, padding.right, reach().width, stride.width, rounding)};
}

}  // namespace elek
