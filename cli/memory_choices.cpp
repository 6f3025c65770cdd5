// SPDX-License-Identifier: Apache-2.0
// What a session would hold, and how long it would run, under a smaller and smaller --memory-limit: with the usual kernels, and
// with kernels of less workspace. Tests: tests/cli/memory_test.cpp
#include <algorithm>
#include <optional>

#include "cli/memory.h"
#include "core/error.h"
#include "engine/run_times.h"

namespace elek::cli {
namespace {

/// The most that such a session holds, packing included.
size_t most_held(const SessionEstimate& choice) {
  const SessionMemory& m = choice.memory;
  return m.weights_bytes + std::max(m.arena_bytes, choice.packing_bytes) + m.statistics_bytes + m.staging_bytes;
}

/// Milliseconds of a run of the session that takes this choice because of a limit: half of the runs are faster. Nothing if it
/// does not fit under the command's own limit.
std::optional<double> time_of(const Model& model, SessionOptions options, const SessionEstimate& choice) {
  constexpr double kSeconds = 0.3;
  Limit limit(*options.memory, most_held(choice));
  options.memory = &limit;
  options.micro_batch = choice.program.micro_batch;  // so that only the kernels may change
  try {
    Session session(model, options);
    fill_with_random_pixels(session.slots()[0], 1);
    return latency_of(time_runs(session, kSeconds)).p50;
  } catch (const OutOfMemory&) {
    return std::nullopt;
  }
}

}  // namespace

Json memory_choices(const Output& output, const Model& model, const SessionOptions& options, const SessionEstimate& usual,
                    Timing timing) {
  Json json = Json::array();
  std::vector<std::string> head{"under a --memory-limit: kernels with a workspace of at most", "arena, MB", "needs, bytes"};
  if (timing == Timing::kRun) head.emplace_back("ms a batch");
  Table table(head);
  size_t limit = SIZE_MAX, smallest = SIZE_MAX;
  for (SessionEstimate choice = usual;;) {
    const size_t bytes = most_held(choice);
    if (bytes < smallest) {
      smallest = bytes;
      std::vector<std::string> row{
          limit == SIZE_MAX ? "any (the usual kernels)" : with_commas(static_cast<int64_t>(limit)) + " bytes",
          decimal(static_cast<double>(choice.memory.arena_bytes) / 1e6, 3), with_commas(static_cast<int64_t>(bytes))};
      Json one = {{"workspace_bytes", choice.memory.workspace_bytes},
                  {"arena_bytes", choice.memory.arena_bytes},
                  {"needed_bytes", bytes}};
      if (timing == Timing::kRun) {
        const std::optional<double> ms = time_of(model, options, choice);
        one["ms"] = ms ? Json(*ms) : Json();
        row.push_back(ms ? decimal(*ms, 3) : "does not fit");
      }
      table.add(row);
      json.push_back(std::move(one));
    }
    const auto next = choice.next_workspace_bytes;
    if (!next) break;
    limit = *next;
    SessionOptions tried = options;
    tried.micro_batch = usual.program.micro_batch;
    choice = estimate_memory(model, tried, limit);
  }
  if (json.size() > 1) output.result("\n" + table.text());
  return json;
}

}  // namespace elek::cli
