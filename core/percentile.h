// SPDX-License-Identifier: Apache-2.0
// Percentiles of measured times. Tests: tests/unit/percentile_test.cpp
#pragma once

#include <span>
#include <vector>

namespace elek {

/// Nearest-rank percentile of sorted values, `share` from 0 to 1. ContractError if there are none.
[[nodiscard]] double percentile(std::span<const double> sorted, double share);

/// The median.
[[nodiscard]] double median(std::vector<double> values);

}  // namespace elek
