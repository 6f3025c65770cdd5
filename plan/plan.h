// SPDX-License-Identifier: Apache-2.0
// The arena planner: computes from a program's lifetimes the offsets inside one buffer. Pure integers: no device memory, no
// backend.
// Tests: tests/unit/plan_test.cpp, tests/unit/plan_optimum_test.cpp, tests/golden/plan_bound_test.cpp
#pragma once

#include "plan/program.h"

namespace elek {

/// Offsets, each a multiple of kAlignment. Two ranges that are alive at the same step never overlap. A pure function.
[[nodiscard]] MemoryPlan plan(const Program& program);

}  // namespace elek
