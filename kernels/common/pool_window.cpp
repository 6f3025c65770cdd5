// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/pool_test.cpp
#include "kernels/common/pool_window.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace elek::kernels {

void check_pool_window(const ImageShape& x, const ImageShape& y, const PoolWindow& window, const char* op) {
  constexpr int64_t kMost = 32767;
  const std::string text = "kernel " + std::to_string(window.kernel) + " stride " + std::to_string(window.stride) +
                           " padding " + std::to_string(window.padding);
  ELEK_CHECK(window.kernel >= 1 && window.kernel <= kMost && window.stride >= 1 && window.stride <= kMost &&
                 window.padding >= 0 && window.padding * 2 <= window.kernel,
             std::string(op) + ": " + text + ", expected kernel and stride 1 … 32767 and 0 <= 2 * padding <= kernel");
  const auto extent = [&](int64_t in) { return (in + 2 * window.padding - window.kernel) / window.stride + 1; };
  ELEK_CHECK(std::min(x.height, x.width) + 2 * window.padding >= window.kernel && y.height == extent(x.height) &&
                 y.width == extent(x.width),
             std::string(op) + ": y is " + to_string(y) + ", which does not follow from x " + to_string(x) + " and " + text);
}

}  // namespace elek::kernels
