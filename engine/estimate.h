// SPDX-License-Identifier: Apache-2.0
// Estimates without building a session: the memory it would hold, and the most that its device can do. For `elek memory`, for
// budgets and for rooflines. Tests: tests/golden/memory_test.cpp, tests/golden/profile_test.cpp
#pragma once

#include <cstdint>
#include <optional>

#include "core/step_times.h"
#include "elek/session.h"
#include "plan/program.h"

namespace elek {

/// What a session would hold.
struct SessionEstimate {
  SessionMemory memory;
  size_t packing_bytes = 0;  // temporary memory while binding, in the arena's place; 0 if packing fits in the arena
  Program program;
  MemoryPlan plan;
  /// What a session that does not fit tries last, once its micro-batches are as small as they may be: kernels of at most this
  /// workspace. It is half of the largest workspace here, or 0, the least everywhere, if a kernel exceeded the limit that was
  /// asked for. Nothing if there is no less, or if the device's kernels leave no choice.
  std::optional<size_t> next_workspace_bytes;
};
/// Lowers and plans. Packs nothing, runs nothing, needs no parameters. Errors as Session's, except OutOfMemory.
/// `most_workspace`: as if the session had limited its kernels so (next_workspace_bytes).
[[nodiscard]] SessionEstimate estimate_memory(const Model& model, SessionOptions options, size_t most_workspace = SIZE_MAX);

/// The size of one block that a session fits into, wherever the block begins. Weights are packed in the arena's memory before
/// the arena is needed.
[[nodiscard]] size_t block_bytes(const SessionMemory& memory, size_t packing_bytes);

/// The most that options.device can do in options.precision with options.threads. Measured now; takes a few tenths of a second.
/// Memory, up to 128 MiB, comes from options.memory. DeviceError if the device is missing.
[[nodiscard]] Peaks measure_peaks(const SessionOptions& options);

}  // namespace elek
