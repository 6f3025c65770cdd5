// SPDX-License-Identifier: Apache-2.0
// All criteria, one per line, in the order in which they are listed. Each entry names a function of prune/criteria/*.cpp that
// returns the criterion's only object. Internal to prune/. Tests: tests/prune/criterion_test.cpp
#pragma once

#include "core/sums.h"
#include "elek/prune.h"

// clang-format off
#define ELEK_CRITERIA(X) \
  X(std_consumer)        \
  X(positions)           \
  X(rms)                 \
  X(standard_deviation)  \
  X(frequency)           \
  X(normalized_mean)     \
  X(mean_absolute)       \
  X(combined)            \
  X(wanda)               \
  X(wanda_seed)          \
  X(magnitude)           \
  X(magnitude_l1)        \
  X(random_draw)         \
  X(refit)              \
  X(taylor)             \
  X(fisher)
// clang-format on

namespace elek::criteria {

#define ELEK_DECLARE(maker) const Criterion& maker();
ELEK_CRITERIA(ELEK_DECLARE)
#undef ELEK_DECLARE

}  // namespace elek::criteria
