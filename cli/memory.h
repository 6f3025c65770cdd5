// SPDX-License-Identifier: Apache-2.0
// The parts of elek memory: the allocator lab and the lessons. Tests: tests/cli/memory_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "cli/context.h"
#include "engine/estimate.h"
#include "lab/replay.h"

namespace elek::cli {

/// Replays the trace with every strategy that supports it. Prints and returns the table.
[[nodiscard]] Json lab(const Output& output, const std::string& name, const Trace& trace);

/// Whether the choices are run, to learn their times.
enum class Timing : uint8_t { kNone, kRun };
/// Prints and returns the choices that a session has when memory is short, the usual one first: bytes, and times if asked for.
[[nodiscard]] Json memory_choices(const Output& output, const Model& model, const SessionOptions& options,
                                  const SessionEstimate& usual, Timing timing);

/// Runs that fail on purpose: "out-of-memory", "fragmentation", "stream-race". Return what they show.
[[nodiscard]] Json show_out_of_memory(const Output& output);
[[nodiscard]] Json show_fragmentation(const Output& output);
[[nodiscard]] Json show_stream_race(const Output& output);

}  // namespace elek::cli
