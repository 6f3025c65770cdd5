// SPDX-License-Identifier: Apache-2.0
// The parts of elek memory: the allocator lab and the lessons. Tests: tests/cli/memory_test.cpp
#pragma once

#include <string>

#include "cli/context.h"
#include "lab/replay.h"

namespace elek::cli {

/// Replays the trace with every strategy that supports it. Prints and returns the table.
[[nodiscard]] Json lab(const Output& output, const std::string& name, const Trace& trace);

/// Runs that fail on purpose: "out-of-memory", "fragmentation", "stream-race". Return what they show.
[[nodiscard]] Json show_out_of_memory(const Output& output);
[[nodiscard]] Json show_fragmentation(const Output& output);
[[nodiscard]] Json show_stream_race(const Output& output);

}  // namespace elek::cli
