// SPDX-License-Identifier: Apache-2.0
// The sizes of this machine's vectors, which planning needs. The instruction set is chosen when the program starts.
// Tests: tests/kernels/vectors_test.cpp
#pragma once

#include <cstdint>

namespace elek::kernels::cpu {

/// Name of the instruction set in use ("AVX3", "AVX2", …).
[[nodiscard]] const char* instruction_set();

/// Floats per vector, at most `block` (8 or 16, the channels of a layout's block).
[[nodiscard]] int64_t vector_lanes(int64_t block);

/// Rows that the micro-kernel of every matrix product holds in registers at once (detail/panel_product-inl.h).
[[nodiscard]] int64_t panel_rows();

}  // namespace elek::kernels::cpu
