// SPDX-License-Identifier: Apache-2.0
// Tests: tests/cli/budget_test.cpp
#include "cli/budget.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <memory>
#include <utility>

#include "core/error.h"
#include "engine/estimate.h"
#include "engine/layer_times.h"
#include "engine/run_times.h"
#include "models/model_file.h"
#include "prune/budget_terms.h"

namespace elek::cli {
namespace {

/// A budget that is spent to this share counts as spent.
constexpr double kSpent = 0.995;

struct Option {
  const char* name;
  std::string BudgetOptions::*text;
  BudgetUnit unit;
  const char* help;
};
const std::array<Option, 5>& all_options() {
  static const std::array<Option, 5> kOptions{{
      {"--macs", &BudgetOptions::macs, BudgetUnit::kMacs,
       "The most MACs (multiply-adds) an image to keep, instead of a share to remove: a share of the network's, or a number "
       "(20M)"},
      {"--params", &BudgetOptions::params, BudgetUnit::kParameters,
       "The most parameters to keep: a share of the network's, or a number (500k)"},
      {"--file-bytes", &BudgetOptions::file_bytes, BudgetUnit::kFileBytes,
       "The largest file to write, its header and history included: a share of the network's file, or a size (500kB)"},
      {"--memory", &BudgetOptions::memory, BudgetUnit::kMemory,
       "The most bytes of weights and arena of a session that runs one image at a time, as elek memory --batch 1 counts them: "
       "a "
       "share of the network's, or a size (2MB)"},
      {"--latency", &BudgetOptions::latency, BudgetUnit::kLatency,
       "The longest median time of one image on this machine, now: a share of the network's, or a time (2ms, 500us)"},
  }};
  return kOptions;
}

struct Amount {
  double value = 0;
  bool is_share = false;
};

Amount amount_of(const Option& option, const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const std::string unit(rest, end);
  const auto wrong = [&](const std::string& example) {
    return UsageError(std::string(option.name) + " '" + text +
                      "': expected a share of the dense network (more than 0, less than 1), or " + example);
  };
  const bool is_number = error == std::errc() && value > 0 && std::isfinite(value);
  if (is_number && unit.empty() && value < 1) return {value, true};
  switch (option.unit) {
    case BudgetUnit::kMacs:
    case BudgetUnit::kParameters: {
      const double factor = unit.empty() ? 1 : unit == "k" ? 1e3 : unit == "M" ? 1e6 : unit == "G" ? 1e9 : 0;
      // 1 and 1.5 are no share, and surely no number of MACs
      if (!is_number || factor == 0 || (unit.empty() && value < 2)) throw wrong("a number with k, M or G, such as 20M");
      return {value * factor, false};
    }
    case BudgetUnit::kFileBytes:
    case BudgetUnit::kMemory:
      if (!is_number || (unit.empty() && value < 2)) throw wrong("a size, such as 500kB");
      return {static_cast<double>(parse_bytes(option.name, text)), false};
    case BudgetUnit::kLatency: {
      const double factor = unit == "us" ? 1 : unit == "ms" ? 1e3 : unit == "s" ? 1e6 : 0;
      if (!is_number || factor == 0) throw wrong("a time with us, ms or s, such as 2ms");
      return {value * factor, false};
    }
  }
  throw ContractError("a budget's unit that no option has");
}

const Option* given(const BudgetOptions& budget) {
  const auto& options = all_options();
  const auto* const found =
      std::find_if(options.begin(), options.end(), [&](const Option& each) { return !(budget.*each.text).empty(); });
  return found == options.end() ? nullptr : found;
}

/// The history entry of the cut, with texts as long as they can become: what is recorded is known only after the repair.
HistoryEntry longest_entry(const PrunePlan& plan, const CutInput& input, const CutOptions& options) {
  constexpr double kLongest = 0.12345678901234566;
  constexpr int64_t kManyImages = 10'000'000;
  const std::string hash(16, 'f');
  HistoryEntry entry;
  entry.action = "prune channels";
  entry.criterion = plan.criterion.empty() ? options.criterion->name() + " labels=given" : plan.criterion;
  entry.target = plan.target;
  entry.repair = "refit+distill target=block";
  entry.source_hash = hash;
  entry.calibration = entry.repair_data = input.calibrate;
  entry.calibration_samples = entry.repair_samples = kManyImages;
  entry.tap = "relu";
  entry.kernels = "measured";
  entry.seed = options.seed;
  entry.version = ELEK_VERSION;
  entry.evaluation = Evaluation{};
  entry.evaluation->data = input.evaluate;
  entry.evaluation->hash = hash;
  entry.evaluation->samples = kManyImages;
  entry.evaluation->dense = kLongest;
  entry.evaluation->pruned = kLongest;
  entry.evaluation->repaired = kLongest;
  for (const GroupCut& cut : plan.groups) {
    entry.cuts.push_back({cut.group, cut.channels, cut.keep, cut.channels - std::ssize(cut.keep), cut.scores});
  }
  return entry;
}

double memory_of(const Model& model, Context& context) {
  const SessionMemory memory = estimate_memory(model, context.session_options(1)).memory;
  return static_cast<double>(memory.weights_bytes + memory.arena_bytes);
}

/// The median in microseconds of the shortest of three runs, as the report of a cut says it. There the dense network runs in
/// turns with it; here a copy does.
double us_of(const Model& model, Context& context) {
  const auto times = time_in_turns(model, model, context.session_options(1), context.common().seed);
  if (!times) throw OutOfMemory("--latency runs two networks in turns, and both do not fit into --memory-limit together", {});
  return times->pruned.p50 * 1e3;
}

/// What the terms and the measurement of a unit are.
void complete(Budget& budget, double whole, const CutInput& input, const CutOptions& options, const Model& dense,
              Context& context) {
  const std::vector<Group> groups = find_groups(dense.graph);
  switch (budget.unit) {
    case BudgetUnit::kMacs:
    case BudgetUnit::kParameters:
      return;
    case BudgetUnit::kFileBytes:
      budget.terms = std::make_shared<const UsageTerms>(tensor_bytes_terms(groups, dense.graph));
      budget.exact = [input, options](const Model& cut, const PrunePlan& plan) {
        Model recorded = cut;
        recorded.history.push_back(longest_entry(plan, input, options));
        return static_cast<double>(model_file_bytes(recorded));
      };
      return;
    case BudgetUnit::kMemory:
      budget.terms = std::make_shared<const UsageTerms>(memory_terms(dense, groups, context.session_options(1)));
      budget.exact = [&context](const Model& cut, const PrunePlan&) { return memory_of(cut, context); };
      return;
    case BudgetUnit::kLatency: {
      context.output().note("--latency: timing the convolutions at several widths");
      LayerTimes times(context.session_options(1));
      budget.terms = std::make_shared<const UsageTerms>(latency_terms(groups, dense.graph, times, whole));
      budget.exact = [&context](const Model& cut, const PrunePlan&) { return us_of(cut, context); };
      return;
    }
  }
}

/// As it follows a number.
std::string text_of(BudgetUnit unit) {
  switch (unit) {
    case BudgetUnit::kMacs:
      return " MACs per image";
    case BudgetUnit::kParameters:
      return " parameters";
    case BudgetUnit::kFileBytes:
      return " bytes of the file";
    case BudgetUnit::kMemory:
      return " bytes of weights and arena";
    case BudgetUnit::kLatency:
      return " ms per image";
  }
  throw ContractError("a budget's unit without a text");
}

}  // namespace

void add_budget(CLI::App& command, BudgetOptions& options, const std::vector<std::string>& others) {
  std::vector<CLI::Option*> added;
  for (const Option& each : all_options()) {
    CLI::Option* const option = command.add_option(each.name, options.*each.text, each.help);
    for (CLI::Option* const before : added) option->excludes(before);
    for (const std::string& name : others) {
      if (CLI::Option* const other = command.get_option_no_throw(name); other != nullptr) option->excludes(other);
    }
    added.push_back(option);
  }
}

std::vector<std::string> budget_names() {
  std::vector<std::string> names;
  for (const Option& each : all_options()) names.emplace_back(each.name);
  return names;
}

void check_budget(const BudgetOptions& options) {
  if (const Option* const option = given(options); option != nullptr) (void)amount_of(*option, options.*option->text);
}

std::optional<double> used(const Model& model, BudgetUnit unit, Context& context) {
  switch (unit) {
    case BudgetUnit::kMacs:
      return static_cast<double>(macs(model.graph));
    case BudgetUnit::kParameters:
      return static_cast<double>(parameter_count(model));
    case BudgetUnit::kFileBytes:
      return static_cast<double>(model_file_bytes(model));
    case BudgetUnit::kMemory:
      return memory_of(model, context);
    case BudgetUnit::kLatency:
      break;
  }
  return std::nullopt;
}

std::optional<Budget> budget_of(const BudgetOptions& budget, const CutInput& input, const CutOptions& options,
                                const Model& dense, Context& context) {
  const Option* const option = given(budget);
  if (option == nullptr) return std::nullopt;
  const Amount amount = amount_of(*option, budget.*option->text);
  const std::optional<double> known = used(dense, option->unit, context);
  const double whole = known ? *known : us_of(dense, context);
  Budget made{option->unit, amount.is_share ? amount.value * whole : amount.value};
  complete(made, whole, input, options, dense, context);
  return made;
}

std::string budget_text(const Budget& budget, const ChannelTarget& target, double left, double whole) {
  const double spent = left / budget.limit;
  const bool timed = budget.unit == BudgetUnit::kLatency;
  const auto number = [timed](double amount) { return timed ? decimal(amount / 1e3, 3) : with_commas(std::llround(amount)); };
  std::string text = "budget: " + number(left) + " of at most " + number(budget.limit) + text_of(budget.unit) + " are left (" +
                     percent(spent, 1) + " of the budget, " + percent(left / whole, 1) + " of the dense network)";
  if (spent > 1) {
    return text + (timed ? "; THE BUDGET IS EXCEEDED: times vary; ask for a little less, on a quiet machine"
                         : "; THE BUDGET IS EXCEEDED");
  }
  if (spent >= kSpent || timed) return text;
  text +=
      budget.exact ? "; no step of a single group that was tried fits" : "; no group can have more channels within the budget";
  return text + (target.round_to == 1 ? "" : ", rounded as --round-to says (--round-to 1 comes closest)");
}

Json budget_json(const Budget& budget, double left) {
  return {{"unit", name_of(budget.unit)}, {"limit", budget.limit}, {"left", left}};
}

}  // namespace elek::cli
