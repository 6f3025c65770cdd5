// SPDX-License-Identifier: Apache-2.0
// What this machine's vectors are, as planning needs to know: the instruction set is chosen when the program starts.
// Tests: tests/kernels/vectors_test.cpp
#pragma once

#include <cstdint>

namespace elek::kernels::cpu {

/// Name of the instruction set that runs ("AVX3", "AVX2", …).
[[nodiscard]] const char* instruction_set();

/// Floats in a vector, at most `block` (a layout's 8 or 16 channels).
[[nodiscard]] int64_t vector_lanes(int64_t block);

/// Rows that the micro-kernel of every matrix product holds in registers at once (detail/panel_product-inl.h).
[[nodiscard]] int64_t panel_rows();

}  // namespace elek::kernels::cpu
