// SPDX-License-Identifier: Apache-2.0
// The arena planner: turns a program's lifetimes into offsets inside one buffer. Pure integers: no device memory, no backend.
// Tests: tests/unit/plan_test.cpp, tests/unit/plan_optimum_test.cpp, tests/golden/plan_bound_test.cpp
#pragma once

#include "plan/program.h"

namespace elek {

/// Offsets, each a multiple of kAlignment, such that no two ranges alive at one step overlap. Pure.
[[nodiscard]] MemoryPlan plan(const Program& program);

}  // namespace elek
