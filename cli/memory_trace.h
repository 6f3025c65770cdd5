// SPDX-License-Identifier: Apache-2.0
// Traces in elek memory: replayed from files, written to files, and placements by hand that are judged (docs/memory.md, 9).
// Tests: tests/cli/trace_test.cpp
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "cli/output.h"
#include "lab/replay.h"

namespace elek::cli {

struct TraceOptions {
  std::string replay;     // a trace instead of a network
  std::string placement;  // offsets by hand
  std::string write;      // where to write the trace
};
void add_traces(CLI::App& command, TraceOptions& options);
/// UsageError for names with another ending.
void check(const TraceOptions& options);

/// Judges the placement and writes the trace, as asked. Returns the placement, for pictures.
std::optional<Replay> use_trace(const Output& output, const TraceOptions& options, const Trace& trace, Json& json);

}  // namespace elek::cli
