// SPDX-License-Identifier: Apache-2.0
// The sets of per-channel sums that can be asked for. Here and not in core/statistics.h because kernels/ sees core
// only. Definitions and accuracy: docs/statistics.md. Tests: tests/kernels/epilogue_test.cpp
#pragma once

#include <cstdint>

namespace elek {

/// Sets of sums, combined with |. y = the stored value, z = the pre-activation (conv + bias, batch norm folded in).
enum Sums : uint32_t {
  kActivity = 1,    // sum y, sum y^2, #{y > threshold}
  kMoments = 2,     // sum z, sum z^2
  kAbsolute = 4,    // sum |y|
  kRange = 8,       // max y
  kPerSample = 16,  // fired = #{n : some y > threshold}; m_n = spatial mean: peak = max m_n, sum m_n, sum m_n^2
};

}  // namespace elek
