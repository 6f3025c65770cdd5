// SPDX-License-Identifier: Apache-2.0
// What a session would hold and what its device can do at most, without building a session: for `elek memory`, for budgets and
// for rooflines. Tests: tests/golden/memory_test.cpp, tests/golden/profile_test.cpp
#pragma once

#include "core/step_times.h"
#include "elek/session.h"
#include "plan/program.h"

namespace elek {

/// What a session would hold, without building it.
struct SessionEstimate {
  SessionMemory memory;
  size_t packing_bytes = 0;  // held for a moment in the arena's place while binding; 0 where packing finds room in the arena
  Program program;
  MemoryPlan plan;
};
/// Lowers and plans; packs nothing, runs nothing, needs no parameters. Errors as Session's, but for OutOfMemory.
[[nodiscard]] SessionEstimate estimate_memory(const Model& model, SessionOptions options);

/// What options.device does at most in options.precision with options.threads, measured now: a few tenths of a second. Memory,
/// up to 128 MiB, comes from options.memory. DeviceError if the device is not there.
[[nodiscard]] Peaks measure_peaks(const SessionOptions& options);

}  // namespace elek
