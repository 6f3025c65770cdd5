// SPDX-License-Identifier: Apache-2.0
// From a session's statistics slab to Statistics, the same for every backend: each hands over where its kernels added up.
// Host memory only. Tests: tests/backends/read_statistics_test.cpp, tests/golden/statistics_test.cpp
#pragma once

#include <span>
#include <string>

#include "backends/steps.h"
#include "elek/statistics.h"
#include "kernels/common/sum_arrays.h"
#include "kernels/common/tap_norm_plan.h"

namespace elek::backends {

/// Enters the sums of a watched value of `shape` after `samples` samples. `parts`: the arrays ([channels]) of everyone who took
/// some of them, added in this order: the threads of a CPU, or the one copy of a device.
void read_value_sums(const Watched& watched, const ImageShape& shape, int64_t samples,
                     std::span<const kernels::SumArrays> parts, Statistics& statistics);

/// Enters the input norms of layer `name` and returns where they go: [channels, R, S].
[[nodiscard]] double* add_tap_norms(const std::string& name, const kernels::TapNormPlan& plan, int64_t samples,
                                    Statistics& statistics);

}  // namespace elek::backends
