// SPDX-License-Identifier: Apache-2.0
// The options that commands which cut have in common, and the whole run of coverage and wanda: what the words mean, what goes
// together, what is printed. The cut itself is the library's. Tests: tests/cli/usage_test.cpp, tests/cli/flow_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/cut.h"

namespace elek::cli {

/// --model, --calibrate, --evaluate, --max-batches, --batch.
void add_cut_input(CLI::App& command, CutInput& input);

/// How channels compete and counts are rounded, as texts; --scope, --round-to, --ignore.
struct Selection {
  std::string scope = "auto";
  std::string round_to = "auto";
  std::vector<std::string> ignore;
};
void add_selection(CLI::App& command, Selection& selection);
/// Rounding and ignored names into the target. UsageError naming the option.
void resolve(const Selection& selection, ChannelTarget& target);
/// layer, global, or auto: nothing, which is the criterion's own.
[[nodiscard]] std::optional<Scope> scope_of(const std::string& text);
/// What a list of criteria says of them: "refit (what …), positions (…)"; of those whose family is or is not `family`.
[[nodiscard]] std::string criteria_help(const std::string& family, bool of_it);

/// The options that coverage and wanda share, and the whole run of either.
struct CutCommand {
  Common common;
  CutInput input;
  CutOptions what;
  Selection selection;
  std::string repair = "refit";
  bool no_repair = false;
  std::vector<std::string> layers;  // NAME=share
  std::optional<double> macs;       // share of the MACs that may stay, instead of a share of channels
  std::string tap = "relu";
  std::string save_statistics;
  std::string statistics;
  std::vector<std::string> why;  // groups (or layers) to explain
  std::string replay;            // a cut network's file: repeat its choice instead of scoring
  std::string out;
  std::string metric_note;  // which metric it is and why, where nobody named one
};
void add_cut_options(CLI::App& command, CutCommand& options);
void run_cut(const std::string& name, CutCommand options);

}  // namespace elek::cli
