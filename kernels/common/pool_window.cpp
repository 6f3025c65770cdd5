// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/pool_test.cpp
#include "kernels/common/pool_window.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace elek::kernels {

void check_pool_window(const ImageShape& x, const ImageShape& y, const PoolWindow& window, const char* op) {
  constexpr int64_t kMost = 32767;
  const Extent& kernel = window.kernel;
  const Padding& padding = window.padding;
  const Window slides{kernel, window.stride, padding, 1};
  const std::string text = to_string(slides) + (window.rounding == Rounding::kUp ? " rounded up" : "");
  const int64_t largest = std::max({kernel.height, kernel.width, window.stride.height, window.stride.width});
  ELEK_CHECK(is_possible(slides) && largest <= kMost && std::max(padding.top, padding.bottom) < kernel.height &&
                 std::max(padding.left, padding.right) < kernel.width,
             std::string(op) + ": " + text + ", expected kernel and stride 1 … 32767 and 0 <= padding < kernel");
  const ImageShape made = slides.slide(x, window.rounding);
  ELEK_CHECK(made.height > 0 && made.width > 0 && y.height == made.height && y.width == made.width,
             std::string(op) + ": y is " + to_string(y) + ", which does not follow from x " + to_string(x) + " and " + text);
}

}  // namespace elek::kernels
