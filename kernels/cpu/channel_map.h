// SPDX-License-Identifier: Apache-2.0
// channel_map: the strided slice with a table of source channels (option-A shortcuts, masks). Add, relu and batch norm as
// standalone steps are run_epilogue's (epilogue.h).
// Tests: tests/kernels/channel_map_test.cpp
#pragma once

#include <cstdint>
#include <span>

#include "elek/types.h"
#include "kernels/cpu/channel_sums.h"

namespace elek::kernels::cpu {

/// y[n,d,p,q] = source[d] < 0 ? 0 : x[n, source[d], p * stride, q * stride]
/// Shapes    source: [y's channels]; y's height = ceil(x's height / stride), width too; x and y each in any layout
/// Sums      of y, added when `sums` is given (kMoments left alone) · Padding lanes of y are made zero
/// Aliasing  none · Threads: as run_epilogue
/// Errors    ContractError: shapes do not follow, a source >= x's channels, null data
template <typename T>
void channel_map(const ActivationView<T>& x, std::span<const int32_t> source, int64_t stride, const ActivationView<T>& y,
                 const ChannelSums* sums, int threads);

}  // namespace elek::kernels::cpu
