// SPDX-License-Identifier: Apache-2.0
// Tests: tests/cli/budget_test.cpp
#include "cli/budget.h"

#include <charconv>
#include <cmath>

#include "core/error.h"

namespace elek::cli {
namespace {

/// A budget that is spent to this share counts as spent.
constexpr double kSpent = 0.995;

struct Amount {
  double value = 0;
  bool is_share = false;
};

Amount amount_of(const std::string& option, const std::string& text) {
  const auto wrong = [&] {
    return UsageError(
        option + " '" + text +
        "': expected a share of the dense network (more than 0, less than 1), or a number with k, M or G, such as "
        "20M");
  };
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || !(value > 0) || !std::isfinite(value)) throw wrong();
  const std::string unit(rest, end);
  if (unit.empty() && value < 1) return {value, true};
  const double factor = unit.empty() ? 1 : unit == "k" ? 1e3 : unit == "M" ? 1e6 : unit == "G" ? 1e9 : 0;
  if (factor == 0 || (unit.empty() && value < 2)) throw wrong();  // 1 and 1.5 are no share, and surely no number of MACs
  return {value * factor, false};
}

int64_t used(const Model& model, BudgetUnit unit) {
  return unit == BudgetUnit::kMacs ? macs(model.graph) : parameter_count(model);
}

}  // namespace

void add_budget(CLI::App& command, BudgetOptions& options, const std::vector<std::string>& others) {
  CLI::Option* const by_macs = command.add_option(
      "--macs", options.macs,
      "The most MACs (multiply-adds) an image to keep, instead of a share to remove: a share of the network's, or a number "
      "(20M)");
  CLI::Option* const by_params = command.add_option(
      "--params", options.params, "The most parameters to keep: a share of the network's, or a number (500k)");
  by_macs->excludes(by_params);
  for (const std::string& name : others) {
    CLI::Option* const other = command.get_option_no_throw(name);
    if (other == nullptr) continue;
    by_macs->excludes(other);
    by_params->excludes(other);
  }
}

void check_budget(const BudgetOptions& options) {
  if (!options.macs.empty()) (void)amount_of("--macs", options.macs);
  if (!options.params.empty()) (void)amount_of("--params", options.params);
}

std::optional<Budget> budget_of(const BudgetOptions& options, const Model& dense) {
  if (!options.given()) return std::nullopt;
  const bool by_macs = !options.macs.empty();
  const BudgetUnit unit = by_macs ? BudgetUnit::kMacs : BudgetUnit::kParameters;
  const Amount amount = by_macs ? amount_of("--macs", options.macs) : amount_of("--params", options.params);
  return Budget{unit, amount.is_share ? amount.value * static_cast<double>(used(dense, unit)) : amount.value};
}

std::string budget_text(const Budget& budget, const ChannelTarget& target, const Model& dense, const Model& cut) {
  const int64_t left = used(cut, budget.unit);
  const double spent = static_cast<double>(left) / budget.limit;
  const bool by_macs = budget.unit == BudgetUnit::kMacs;
  std::string text = "budget: " + with_commas(left) + " of at most " + with_commas(std::llround(budget.limit)) +
                     (by_macs ? " MACs per image" : " parameters") + " are left (" + percent(spent, 1) + " of the budget, " +
                     percent(static_cast<double>(left) / static_cast<double>(used(dense, budget.unit)), 1) +
                     " of the dense network)";
  if (spent >= kSpent) return text;
  text += "; no group can have more channels within the budget";
  return text + (target.round_to == 1 ? "" : ", rounded as --round-to says (--round-to 1 comes closest)");
}

Json budget_json(const Budget& budget, const Model& cut) {
  return {{"unit", name_of(budget.unit)}, {"limit", budget.limit}, {"left", used(cut, budget.unit)}};
}

}  // namespace elek::cli
