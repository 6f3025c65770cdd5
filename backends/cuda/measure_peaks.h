// SPDX-License-Identifier: Apache-2.0
// Measures a GPU's peaks.
#pragma once

#include "core/step_times.h"
#include "elek/memory.h"
#include "elek/types.h"

struct CUstream_st;

namespace elek::backends::cuda {

/// The best of a few turns of a large matrix product, and of copies of several sizes, on the current device. OutOfMemory if not
/// even the operands of the product fit.
[[nodiscard]] Peaks measure_peaks(Precision precision, MemoryResource& memory, CUstream_st* stream);

}  // namespace elek::backends::cuda
