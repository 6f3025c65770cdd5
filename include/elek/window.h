// SPDX-License-Identifier: Apache-2.0
// A window that slides over an image, as convolutions and pools have it: kernel, stride and dilation for both axes, padding for
// the four sides. Most windows are square: an Extent or a Padding is then made from one number, and model files hold one
// number. Says where windows lie, not what is computed in them. Tests: tests/unit/window_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "elek/export.h"
#include "elek/types.h"

namespace elek {

/// One number for the vertical axis and one for the horizontal.
struct Extent {
  int64_t height = 1;
  int64_t width = 1;
  constexpr Extent() = default;
  constexpr Extent(int64_t both) : height(both), width(both) {}  // NOLINT(google-explicit-constructor): the usual case
  constexpr Extent(int64_t vertical, int64_t horizontal) : height(vertical), width(horizontal) {}
  [[nodiscard]] constexpr bool is_square() const noexcept { return height == width; }
  [[nodiscard]] constexpr int64_t area() const noexcept { return height * width; }
  friend constexpr bool operator==(const Extent&, const Extent&) = default;
};
[[nodiscard]] ELEK_API std::string to_string(const Extent& extent);  // "3", "1x7" (height first)

/// Pixels added at the sides of an image.
struct Padding {
  int64_t top = 0;
  int64_t left = 0;
  int64_t bottom = 0;
  int64_t right = 0;
  constexpr Padding() = default;
  constexpr Padding(int64_t all)  // NOLINT(google-explicit-constructor): the usual case
      : top(all), left(all), bottom(all), right(all) {}
  constexpr Padding(int64_t above, int64_t before, int64_t below, int64_t after)
      : top(above), left(before), bottom(below), right(after) {}
  [[nodiscard]] constexpr bool is_even() const noexcept { return top == left && top == bottom && top == right; }
  friend constexpr bool operator==(const Padding&, const Padding&) = default;
};
[[nodiscard]] ELEK_API std::string to_string(const Padding& padding);  // "1", "0,0,1,1" (top, left, bottom, right)

/// What happens to pixels that the last whole stride leaves over.
enum class Rounding : uint8_t {
  kDown,  // no window there
  kUp,    // one more window, unless it would begin behind the image and its padding at the start (PyTorch's ceil_mode)
};

/// Tap (r, s) of the window at (p, q) reads pixel (p * stride - top + r * dilation, q * stride - left + s * dilation).
struct ELEK_API Window {
  Extent kernel;
  Extent stride;
  Padding padding;
  Extent dilation;
  /// Rows and columns from the first tap to the last, both included.
  [[nodiscard]] constexpr Extent reach() const noexcept {
    return {(kernel.height - 1) * dilation.height + 1, (kernel.width - 1) * dilation.width + 1};
  }
  /// Number of positions: an image of the input's channels. A height or width of 0 means that the window does not fit.
  [[nodiscard]] ImageShape slide(const ImageShape& input, Rounding rounding = Rounding::kDown) const noexcept;
  friend constexpr bool operator==(const Window&, const Window&) = default;
};
/// Whether kernel, stride and dilation are at least 1, and no padding is negative.
[[nodiscard]] ELEK_API bool is_possible(const Window& window);
/// "kernel 3 stride 2 padding 1", and " dilation 2" if it is not 1.
[[nodiscard]] ELEK_API std::string to_string(const Window& window);

}  // namespace elek
