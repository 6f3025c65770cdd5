// SPDX-License-Identifier: Apache-2.0
// channel_map: takes every stride-th position, and each output channel from a source channel given by a table (option-A
// shortcuts, masks). run_epilogue (epilogue.h) does add, relu and batch norm as separate steps.
// Tests: tests/kernels/channel_map_test.cpp
#pragma once

#include <cstdint>
#include <span>

#include "elek/types.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y[n,d,p,q] = source[d] < 0 ? 0 : x[n, source[d], p * stride, q * stride]
/// Shapes    source: [y's channels]; y's height = ceil(x's height / stride), width too; x and y each in any layout
/// Types     T: each stored type, and 8-bit integers (without sums)
/// Sums      of y, added if `sums` is given (kMoments unchanged) · Padding lanes of y become zero
/// Aliasing  none · Threads: as run_epilogue
/// Errors    ContractError: shapes that do not match, a source >= x's channels, null data
template <typename T>
void channel_map(const ActivationView<T>& x, std::span<const int32_t> source, int64_t stride, const ActivationView<T>& y,
                 const ChannelSums* sums, int threads);

}  // namespace elek::kernels::cpu
