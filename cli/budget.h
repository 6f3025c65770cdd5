// SPDX-License-Identifier: Apache-2.0
// The budget options of coverage and wanda: what the cut network may use at most. Tests: tests/cli/budget_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "cli/cut.h"
#include "cli/output.h"
#include "elek/prune.h"

namespace elek::cli {

/// As given on the command line; empty if not given. At most one is.
struct BudgetOptions {
  std::string macs;
  std::string params;
  std::string file_bytes;
  std::string memory;
  std::string latency;
  [[nodiscard]] bool given() const noexcept { return !(macs + params + measured()).empty(); }
  /// The one that is measured on networks that were cut, if it is given.
  [[nodiscard]] std::string measured() const { return file_bytes + memory + latency; }
};

/// Adds the options. They exclude each other, and every option of `others` that the command has.
void add_budget(CLI::App& command, BudgetOptions& options, const std::vector<std::string>& others);
/// Their names.
[[nodiscard]] std::vector<std::string> budget_names();

/// UsageError naming the option unless its text is a share (more than 0, less than 1) or a number with a unit of the option.
/// Needs no network.
void check_budget(const BudgetOptions& options);

/// The budget for this network; nothing if no option is given. A share is one of the dense network's use. For --latency this
/// runs the network, and its convolutions at several widths. `options` gives seed and tap, which the file's history names.
[[nodiscard]] std::optional<Budget> budget_of(const BudgetOptions& budget, const CutInput& input, const CutOptions& options,
                                              const Model& dense, Context& context);

/// What a network uses, in the budget's unit; nothing for times, which are measured apart.
[[nodiscard]] std::optional<double> used(const Model& model, BudgetUnit unit, Context& context);

/// How much of the budget the cut network uses, in one line. If more than half a percent is left: why, and what comes closer.
/// `left`, `whole`: the use of the cut and of the dense network.
[[nodiscard]] std::string budget_text(const Budget& budget, const ChannelTarget& target, double left, double whole);
[[nodiscard]] Json budget_json(const Budget& budget, double left);

}  // namespace elek::cli
