// SPDX-License-Identifier: Apache-2.0
// Finds the largest batch under a limit, without memory: it replays allocations (engine/tensor_room.h), first those of loading,
// then a session's slabs in their order.
// Tests: tests/golden/largest_batch_test.cpp
#pragma once

#include <cstdint>
#include <span>

#include "elek/memory.h"
#include "elek/session.h"
#include "engine/estimate.h"

namespace elek {

inline constexpr int64_t kMostBatch = 65536;

struct LargestBatch {
  int64_t batch = 0;
  int64_t micro_batch = 0;  // the micro-batch of a session with that batch
  SessionEstimate session;
};
/// The largest batch, 1 … kMostBatch, that fits beside the blocks that `loaded` left alive in such a pool under the limit. It
/// runs in micro-batches of options.micro_batch samples; if that is 0, in smaller and smaller ones, down to one sample.
/// OutOfMemory if one sample does not fit.
[[nodiscard]] LargestBatch largest_batch(const Model& model, const SessionOptions& options,
                                         std::span<const Tracker::Event> loaded, size_t limit_bytes, const PoolOptions& pool);

}  // namespace elek
