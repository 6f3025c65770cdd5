// SPDX-License-Identifier: Apache-2.0
// Statistics files: a .safetensors with every sum as a tensor named "value/sum" (f64 or i64, [C]; tap norms "node/norm_sq", f64
// [C, R, S]). __metadata__["elek.statistics"] says what the sums are of. Merging checks it.
// Tests: tests/models/statistics_file_test.cpp
#pragma once

#include <string>

#include "core/statistics.h"

namespace elek {

[[nodiscard]] Statistics load_statistics(const std::string& path);
void save_statistics(const Statistics& statistics, const std::string& path);

}  // namespace elek
