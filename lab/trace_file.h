// SPDX-License-Identifier: Apache-2.0
// Traces as files. Read and written, by the ending of the name:
//   .csv      one block a line: name,bytes,first,last (steps, from 1, both included), with that header
//   .jsonl    one object a line: {"name":"x","bytes":64,"first":1,"last":3}, or events:
//   {"event":"allocate","block":7,"bytes":64,
//             "name":"x"} and {"event":"free","block":7}
//   .pickle   PyTorch's memory snapshot (models/torch/memory_snapshot.h); written in protocol 4
//   .json     written only: a trace of events for Perfetto and Chrome
// Tests: tests/unit/trace_test.cpp
#pragma once

#include <string>
#include <vector>

#include "lab/replay.h"

namespace elek {

/// The endings that are read, or written, for messages: ".csv, .jsonl or .pickle".
[[nodiscard]] bool is_readable_trace(const std::string& path);
[[nodiscard]] bool is_writable_trace(const std::string& path);
inline constexpr const char* kReadableTraces = ".csv, .jsonl or .pickle";
inline constexpr const char* kWritableTraces = ".csv, .jsonl, .pickle (PyTorch) or .json (Perfetto)";

/// InputError names the file and the line: what was expected, and what was found.
[[nodiscard]] Trace read_trace(const std::string& path);

/// As events (kEvents), if the trace was recorded, so that their order is kept; else as lifetimes.
enum class TraceForm : uint8_t { kLifetimes, kEvents };
/// The file's whole text. A trace of events becomes lifetimes in .csv, a step for each event.
[[nodiscard]] std::string trace_text(const Trace& trace, const std::string& path, TraceForm form);

/// One offset for each block of the trace, from a .csv with the header block,offset. A block is named by its name, or by its
/// number in the trace, from 1. InputError: unknown or ambiguous names, blocks without an offset, blocks with two.
[[nodiscard]] std::vector<size_t> read_placement(const std::string& path, const Trace& trace);

}  // namespace elek
