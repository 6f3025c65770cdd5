// SPDX-License-Identifier: Apache-2.0
// The memory layout of a network's values on this processor. Our own kernels decide it, because they run most layers; what
// oneDNN calls the instruction set does not matter. In bf16 the convolutions are oneDNN's, so there its wish counts. Tests:
// tests/backends/layout_test.cpp
#pragma once

#include "elek/types.h"

namespace elek::backends::cpu {

/// f32: blocks of 16 channels if there are 32 vector registers (AVX-512, NEON), else of 8. bf16: NHWC for tiles (AMX), else
/// blocks of 16.
[[nodiscard]] Layout preferred_layout(DType storage);

}  // namespace elek::backends::cpu
