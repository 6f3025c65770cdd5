// SPDX-License-Identifier: Apache-2.0
// Turns a session's statistics slab into Statistics, in the same way for every backend: each passes the arrays in which its
// kernels added up. Host memory only. Tests: tests/backends/read_statistics_test.cpp, tests/golden/statistics_test.cpp
#pragma once

#include <span>
#include <string>

#include "backends/steps.h"
#include "elek/statistics.h"
#include "kernels/common/sum_arrays.h"
#include "kernels/common/tap_norm_plan.h"

namespace elek::backends {

/// Enters the sums of a watched value of `shape` after `samples` samples. `parts`: all arrays ([channels]) that hold a part of
/// the sums, added in this order: one per CPU thread, or the single one of a GPU.
void read_value_sums(const Watched& watched, const ImageShape& shape, int64_t samples,
                     std::span<const kernels::SumArrays> parts, Statistics& statistics);

/// Enters the input norms of layer `name`. Returns the array to write them to: [channels, R, S].
[[nodiscard]] double* add_tap_norms(const std::string& name, const kernels::TapNormPlan& plan, int64_t samples,
                                    Statistics& statistics);

}  // namespace elek::backends
