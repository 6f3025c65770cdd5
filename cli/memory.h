// SPDX-License-Identifier: Apache-2.0
// The parts of elek memory: the solver for the largest batch, the allocator lab, the lessons. Tests: tests/cli/memory_test.cpp
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/context.h"
#include "engine/estimate.h"
#include "lab/replay.h"

namespace elek::cli {

inline constexpr int64_t kMostBatch = 65536;

struct LargestBatch {
  int64_t batch = 0;
  int64_t micro_batch = 0;  // the micro-batch of a session with that batch
  SessionEstimate session;
};
/// The largest batch, 1 … kMostBatch, that fits beside the blocks that `loaded` left alive. It runs in micro-batches of
/// options.micro_batch samples; if that is 0, in smaller and smaller ones, down to one sample. OutOfMemory if one sample does
/// not fit.
[[nodiscard]] LargestBatch largest_batch(const Model& model, const SessionOptions& options,
                                         std::span<const Tracker::Event> loaded, size_t limit_bytes);

/// Replays the trace with every strategy that supports it. Prints and returns the table.
[[nodiscard]] Json lab(const Output& output, const std::string& name, const Trace& trace);

/// Runs that fail on purpose: "out-of-memory", "fragmentation", "stream-race". Return what they show.
[[nodiscard]] Json show_out_of_memory(const Output& output);
[[nodiscard]] Json show_fragmentation(const Output& output);
[[nodiscard]] Json show_stream_race(const Output& output);

}  // namespace elek::cli
