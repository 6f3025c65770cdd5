// SPDX-License-Identifier: Apache-2.0
// What commands that take times share: pixels to run on, and percentiles of what was measured.
// Tests: tests/cli/profile_test.cpp, tests/cli/flow_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "engine/batch_source.h"

namespace elek::cli {

/// A whole batch of random pixels without labels.
void fill_with_random_pixels(Slot& slot, uint64_t seed);

/// Nearest-rank percentile of sorted values, `share` from 0 to 1. ContractError if there are none.
[[nodiscard]] double percentile(const std::vector<double>& sorted, double share);

/// The middle of `values`.
[[nodiscard]] double median(std::vector<double> values);

}  // namespace elek::cli
