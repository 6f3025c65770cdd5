// SPDX-License-Identifier: Apache-2.0
// What winograd.cpp and winograd_simd.cpp share and nobody else may use.
#pragma once

#include <cstdint>

namespace elek::kernels::detail {

/// Floats in a vector of this machine, at most `block`.
int64_t winograd_lanes(int64_t block);
/// Tiles that the micro-kernel holds in registers at once.
int64_t winograd_panel_rows();

}  // namespace elek::kernels::detail
