// SPDX-License-Identifier: Apache-2.0
// Tests: tests/backends/layout_test.cpp
#include "backends/cpu/preferred_layout.h"

#include "backends/cpu/onednn.h"
#include "kernels/cpu/vectors.h"

namespace elek::backends::cpu {

Layout preferred_layout(DType storage) {
  if (storage == DType::kBF16) return has_tiles() ? Layout::kNhwc : Layout::kNChw16c;
  constexpr int64_t kRowsWith32Registers = 14;
  return kernels::cpu::panel_rows() == kRowsWith32Registers ? Layout::kNChw16c : Layout::kNChw8c;
}

}  // namespace elek::backends::cpu
