// SPDX-License-Identifier: Apache-2.0
// The window of a pooling, and its check, for every device. Tests: tests/kernels/pool_test.cpp
#pragma once

#include <cstdint>

#include "elek/types.h"
#include "elek/window.h"

namespace elek::kernels {

struct PoolWindow {
  Extent kernel = 1;
  Extent stride = 1;
  Padding padding = 0;
  Rounding rounding = Rounding::kDown;
  bool counts_padding = true;  // average: the divisor counts positions of the padded image; else those of the image alone
};

/// ContractError unless kernel and stride are 1 … 32767 (kernels may count inside a window in 32 bits), 0 <= padding < kernel,
/// and y has the size that follows from x. The message begins with `op`.
void check_pool_window(const ImageShape& x, const ImageShape& y, const PoolWindow& window, const char* op);

}  // namespace elek::kernels
