// SPDX-License-Identifier: Apache-2.0
// The budget options of coverage and wanda: what the cut network may use at most. Tests: tests/cli/budget_test.cpp
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/context.h"
#include "cli/output.h"
#include "elek/prune.h"

namespace elek::cli {

/// As given on the command line; empty if not given. At most one is.
struct BudgetOptions {
  std::string macs;
  std::string params;
  [[nodiscard]] bool given() const noexcept { return !(macs + params).empty(); }
};

/// Adds --macs and --params. They exclude each other, and every option of `others` that the command has.
void add_budget(CLI::App& command, BudgetOptions& options, const std::vector<std::string>& others);

/// UsageError naming the option unless its text is a share (more than 0, less than 1) or a number with k, M or G. Needs no
/// network.
void check_budget(const BudgetOptions& options);

/// The budget for this network; nothing if no option is given. A share is one of the dense network's use.
[[nodiscard]] std::optional<Budget> budget_of(const BudgetOptions& options, const Model& dense);

/// How much of the budget the cut network uses, in one line. If more than half a percent is left: why, and what comes closer.
[[nodiscard]] std::string budget_text(const Budget& budget, const ChannelTarget& target, const Model& dense, const Model& cut);
[[nodiscard]] Json budget_json(const Budget& budget, const Model& cut);

}  // namespace elek::cli
