// SPDX-License-Identifier: Apache-2.0
// Measures the CPU's peaks. Tests: tests/golden/profile_test.cpp
#pragma once

#include "backends/backend.h"

namespace elek::backends::cpu {

/// See Backend::measure_peaks.
[[nodiscard]] Peaks measure_peaks(const LowerOptions& options);

}  // namespace elek::backends::cpu
