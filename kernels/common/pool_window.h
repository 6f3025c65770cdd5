// SPDX-License-Identifier: Apache-2.0
// The window of a pooling, and its check, for every device. Tests: tests/kernels/pool_test.cpp
#pragma once

#include <cstdint>

#include "elek/types.h"

namespace elek::kernels {

/// Output height or width = (input height or width + 2 * padding - kernel) / stride + 1.
struct PoolWindow {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
};

/// ContractError unless kernel and stride are 1 … 32767 (kernels may count inside a window in 32 bits), 0 <= 2 * padding <=
/// kernel, and y has the size that follows from x. The message begins with `op`.
void check_pool_window(const ImageShape& x, const ImageShape& y, const PoolWindow& window, const char* op);

}  // namespace elek::kernels
