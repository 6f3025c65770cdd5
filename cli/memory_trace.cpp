// SPDX-License-Identifier: Apache-2.0
#include "cli/memory_trace.h"

#include "core/error.h"
#include "core/file.h"
#include "lab/trace_file.h"

namespace elek::cli {
namespace {

std::string mb(size_t bytes) { return decimal(static_cast<double>(bytes) / 1e6, 3) + " MB"; }

Replay judge(const Output& output, const std::string& path, const Trace& trace, Json& json) {
  Placement placement = placed(trace, read_placement(path, trace));
  const Replay& r = placement.replay;
  Json found = {{"valid", placement.problem_count == 0},
                {"problems", placement.problems},
                {"problem_count", placement.problem_count},
                {"reserved_bytes", r.peak_reserved_bytes},
                {"bound_bytes", r.peak_live_bytes}};
  std::string text = "\nplacement " + path + ": ";
  if (placement.problem_count > 0) {
    text += std::to_string(placement.problem_count) + " problems, so it has no score\n";
    for (const std::string& problem : placement.problems) text += "  " + problem + "\n";
    if (placement.problem_count > static_cast<int64_t>(placement.problems.size())) text += "  ...\n";
  } else {
    text += "valid, " + mb(r.peak_reserved_bytes) + "; the bound is " + mb(r.peak_live_bytes) + ", waste " +
            percent(r.waste(), 1) + "\n";
    for (const Strategy s : {Strategy::kPool, Strategy::kFirstFit, Strategy::kBestFit, Strategy::kArena}) {
      if (s == Strategy::kArena && trace.blocks.size() > kMostForThePlan) continue;
      const size_t other = replay(trace, s).peak_reserved_bytes;
      const double share = static_cast<double>(r.peak_reserved_bytes) / static_cast<double>(other) - 1;
      text += "  " + std::string(name_of(s)) + " needs " + mb(other) + ": yours needs " +
              (other == r.peak_reserved_bytes ? "the same" : percent(std::abs(share), 1) + (share < 0 ? " less" : " more")) +
              "\n";
      found["beside"][std::string(name_of(s))] = other;
    }
  }
  output.result(text);
  json["placement"] = found;
  return std::move(placement.replay);
}

}  // namespace

void add_traces(CLI::App& command, TraceOptions& options) {
  command.add_option("--replay", options.replay, std::string("Replay this trace instead of a network's: ") + kReadableTraces);
  command.add_option("--placement", options.placement,
                     "Check and score offsets chosen by hand: a .csv with the header block,offset");
  command.add_option("--write-trace", options.write,
                     std::string("Write the lifetimes or the replayed trace: ") + kWritableTraces);
}

void check(const TraceOptions& options) {
  if (!options.replay.empty() && !is_readable_trace(options.replay)) {
    throw UsageError("--replay " + options.replay + ": expected a name that ends in " + kReadableTraces);
  }
  if (!options.write.empty() && !is_writable_trace(options.write)) {
    throw UsageError("--write-trace " + options.write + ": expected a name that ends in " + kWritableTraces);
  }
  if (!options.placement.empty() && !options.placement.ends_with(".csv")) {
    throw UsageError("--placement " + options.placement + ": expected a name that ends in .csv");
  }
}

std::optional<Replay> use_trace(const Output& output, const TraceOptions& options, const Trace& trace, Json& json) {
  std::optional<Replay> given;
  if (!options.placement.empty()) given = judge(output, options.placement, trace, json);
  if (!options.write.empty()) {
    const bool recorded = !options.replay.empty() && !options.replay.ends_with(".csv");
    write_whole_file(options.write, trace_text(trace, options.write, recorded ? TraceForm::kEvents : TraceForm::kLifetimes));
    output.result("trace: " + options.write + "\n");
    json["written_trace"] = options.write;
  }
  return given;
}

}  // namespace elek::cli
