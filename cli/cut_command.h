// SPDX-License-Identifier: Apache-2.0
// The options that all cutting commands share, and the run of coverage and wanda: what option values mean, which options
// exclude each other, what is printed. The library does the cut. Tests: tests/cli/usage_test.cpp, tests/cli/flow_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/accuracy_drop.h"
#include "cli/budget.h"
#include "cli/cut.h"

namespace elek::cli {

/// --model, --calibrate, --evaluate, --max-batches, --batch.
void add_cut_input(CLI::App& command, CutInput& input);

/// How channels compete and counts are rounded, as given on the command line: --scope, --round-to, --ignore.
struct Selection {
  std::string scope = "auto";
  std::string round_to = "auto";
  std::vector<std::string> ignore;
};
void add_selection(CLI::App& command, Selection& selection);
/// --refit-target.
void add_refit_target(CLI::App& command, std::string& target);
/// Puts rounding and ignored names into the target. UsageError naming the option.
void resolve(const Selection& selection, ChannelTarget& target);
/// The scope for "layer" or "global"; nothing for "auto": the criterion decides.
[[nodiscard]] std::optional<Scope> scope_of(const std::string& text);
/// A list of criteria for help texts: "refit (…), positions (…)". With `of_it` the criteria of `family`, otherwise all others.
[[nodiscard]] std::string criteria_help(const std::string& family, bool of_it);

/// The options that coverage and wanda share, and their run.
struct CutCommand {
  Common common;
  CutInput input;
  CutOptions what;
  Selection selection;
  std::string repair = "auto";
  std::string refit_target = name_of(kDefaultRefitTarget);
  bool no_repair = false;
  std::vector<std::string> layers;  // NAME=share
  BudgetOptions budget;             // instead of a share of channels
  DropOptions drop;                 // instead of any target
  std::string tap = "relu";
  std::string save_statistics;
  std::string statistics;
  std::vector<std::string> why;  // groups (or layers) to explain
  std::string replay;            // a cut network's file: its choice is repeated instead of scoring
  std::string quantize;          // "int8", or empty
  std::string out;
  bool dry_run = false;             // everything but the distillation and the files
  std::vector<std::string> report;  // files for a report on the cut network
  std::string metric_note;          // the chosen metric and the reason, if the user named none
};
/// UsageError if the target cannot be meant for this network, or surely removes nothing from it. `path` is the network's.
void check_channels(const ChannelTarget& target, const Graph& graph, const std::string& path);
void add_cut_options(CLI::App& command, CutCommand& options);
void run_cut(const std::string& name, CutCommand options);

}  // namespace elek::cli
