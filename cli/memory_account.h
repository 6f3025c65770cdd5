// SPDX-License-Identifier: Apache-2.0
// The account of elek memory: what a session needs of a process, foretold before it exists and measured after a run, and
// whether it fits under --memory-limit. Tests: tests/cli/memory_account_test.cpp, tests/cli/memory_test.cpp
#pragma once

#include <optional>
#include <string>

#include "cli/context.h"
#include "engine/footprint.h"

namespace elek::cli {

/// Bytes of the process that are not tensors: pages of the program and its libraries, heap, stacks.
struct ProgramBytes {
  size_t library_bytes = 0;
  size_t rest_bytes = 0;
  [[nodiscard]] size_t total() const noexcept { return library_bytes + rest_bytes; }
};
/// What they will be once a session of `graph` runs with these options. Runs a small network like it for that, because a
/// kernel's code has pages only once it has run; takes some hundredths of a second.
[[nodiscard]] ProgramBytes program_bytes(const Context& context, const SessionOptions& options, const Graph& graph);

/// Prints the account of a session that is still to come, and returns it. `program` is nothing for a GPU's memory.
[[nodiscard]] Json foretell(const Output& output, const std::string& name, const Footprint& footprint,
                            const std::optional<ProgramBytes>& program);

/// Says whether the session fits under the limit, and adds "limit" to the JSON. `without` is the account without the limit.
void judge(const Output& output, const Footprint& footprint, int64_t micro_batch_without, size_t limit_bytes, Json& json);

/// The error for a session that does not fit: a sum of what it needs.
[[nodiscard]] OutOfMemory does_not_fit(const Footprint& footprint, size_t limit_bytes);

/// Runs a batch of black images in each of the session's slots, so that all of its memory is written.
void run_black_images(Session& session);

/// Builds the session, runs a batch of black images in each of its slots, and compares the bytes that each part holds with the
/// system's figure. The model is given to the session, as eval and bench do.
[[nodiscard]] Json measure(Context& context, const SessionOptions& options, Model model);

}  // namespace elek::cli
