// SPDX-License-Identifier: Apache-2.0
// --round-to measured: widths at which this machine's kernels are fast. Tests: tests/cli/latency_test.cpp
#pragma once

#include <cstdint>
#include <functional>

#include "cli/context.h"
#include "prune/select.h"

namespace elek::cli {

/// Rounds to the nearest step of the measured time (prune/staircase.h). Prints nothing: a budget is spent by asking for many
/// counts that are not taken.
[[nodiscard]] std::function<int64_t(const Graph&, const Group&, int64_t)> measured_rounding(Context& context);

}  // namespace elek::cli
