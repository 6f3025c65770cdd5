// SPDX-License-Identifier: Apache-2.0
// elek recommend: the largest cut within a loss, by several criteria, and the command that makes it. Writes no network.
// Tests: tests/cli/accuracy_drop_test.cpp
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "cli/accuracy_drop.h"
#include "cli/commands.h"
#include "cli/cut_command.h"
#include "cli/paths.h"
#include "core/error.h"
#include "models/model_file.h"
#include "prune/early_checks.h"

namespace elek::cli {
namespace {

struct RecommendOptions {
  Common common;
  CutInput input;
  DropOptions drop{.points = 0.5, .hold_out = ""};
  Selection selection;
  std::vector<std::string> metrics{"refit", "taylor", "std-consumer", "wanda"};
  std::string refit_target = name_of(kDefaultRefitTarget);
};

/// What one criterion can do.
struct Candidate {
  const Criterion* criterion = nullptr;
  LargestCut largest;
  [[nodiscard]] double left() const { return largest.best ? largest.tried[*largest.best].left : 1; }
};

std::vector<const Criterion*> criteria_of(const RecommendOptions& options) {
  std::vector<const Criterion*> criteria;
  for (const std::string& name : options.metrics) {
    const Criterion* const each = &find_criterion(name);
    if (std::find(criteria.begin(), criteria.end(), each) == criteria.end()) criteria.push_back(each);
  }
  return criteria;
}

/// The words of a command as a shell reads them.
std::string quoted(const std::string& word) {
  if (word.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%") == std::string::npos) {
    return word;
  }
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

/// The command that makes the cut. The budget is the one that was tried, so that the choice is the same.
std::string command_text(const Candidate& best, const RecommendOptions& options, const Model& dense) {
  const TriedCut& cut = best.largest.tried[*best.largest.best];
  const bool wanda = best.criterion->traits().family == "wanda";
  std::string text = std::string("elek ") + (wanda ? "wanda" : "coverage") + " --model " + quoted(options.input.model) +
                     " --calibrate " + quoted(options.input.calibrate) + " --evaluate DATA --metric " + best.criterion->name() +
                     " --macs " +
                     std::to_string(static_cast<int64_t>((1 - cut.removed) * static_cast<double>(macs(dense.graph))));
  if (options.input.max_batches != CutInput{}.max_batches)
    text += " --max-batches " + std::to_string(options.input.max_batches);
  if (options.input.batch != CutInput{}.batch) text += " --batch " + std::to_string(options.input.batch);
  if (options.input.use_labels && best.criterion->traits().reads_labels) text += " --use-labels";
  if (options.selection.scope != Selection{}.scope) text += " --scope " + options.selection.scope;
  if (options.selection.round_to != Selection{}.round_to) text += " --round-to " + options.selection.round_to;
  for (const std::string& name : options.selection.ignore) text += " --ignore " + quoted(name);
  if (options.refit_target != name_of(kDefaultRefitTarget)) text += " --refit-target " + options.refit_target;
  return text + " --out FILE";
}

std::string table_of(const std::vector<Candidate>& candidates) {
  Table table({"metric", "MACs left", "top-1 lost", "error", "tries allowed"});
  for (const Candidate& each : candidates) {
    const auto allowed =
        std::count_if(each.largest.tried.begin(), each.largest.tried.end(), [](const TriedCut& cut) { return cut.is_allowed; });
    const std::string tries = std::to_string(allowed) + " of " + std::to_string(each.largest.tried.size());
    if (!each.largest.best) {
      table.add({each.criterion->name(), "no cut", "-", "-", tries});
      continue;
    }
    const TriedCut& cut = each.largest.tried[*each.largest.best];
    table.add({each.criterion->name(), percent(cut.left, 1), percent(cut.lost.value), percent(cut.lost.standard_error), tries});
  }
  return table.text();
}

void recommend(RecommendOptions options) {
  if (options.selection.round_to == "measured") {
    throw UsageError(
        "--round-to measured cannot be used with recommend, which names the same cut on every machine; use auto or a number");
  }
  const std::vector<const Criterion*> criteria = criteria_of(options);
  const double points = *options.drop.points;
  CutOptions what;
  what.repair = Repair::kRefit;
  what.refit_target = refit_target_from_name(options.refit_target);
  what.scope = scope_of(options.selection.scope);
  what.use_labels = options.input.use_labels;
  resolve(options.selection, what.channels);
  input_paths(options.input).reads_data("--hold-out", options.drop.hold_out).check();
  Context context(options.common);
  HeldOut held;
  Dense dense = load_dense(options.input, context, [&](const Model& model) {
    held = held_out(options.drop, options.input, model, context);
    CutOptions check = what;
    check.session = context.session_options(options.input.batch);
    check.memory_left = [&context] { return context.memory_left(); };
    for (const Criterion* criterion : criteria) {
      check.criterion = criterion;
      check_memory(model, check);
      check_target(find_groups(model.graph), model.graph, check.channel_target());
    }
  });
  measure_held_out(held, dense, context);
  dense.measured.ms_an_image = held.measured.ms_an_image;
  what = options_for(what, dense, context);
  std::vector<Candidate> candidates;
  for (const Criterion* criterion : criteria) {
    context.output().note("metric " + criterion->name());
    what.criterion = criterion;
    CutNotes notes(context);
    const Evidence evidence = gather(dense.model, run_of(dense, what, notes));
    candidates.push_back({criterion, find_within_drop(points, held, dense, evidence, what, context)});
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.left() < b.left(); });
  const Candidate& best = candidates.front();
  if (!best.largest.best) throw no_cut_error(best.largest, points, false);
  const std::string command = command_text(best, options, dense.model);
  context.output().result("\n" + table_of(candidates) + largest_text(best.largest, points, held, false) +
                          "\n\nThis command makes it, measures it on DATA with labels, and distils it, which mostly wins some "
                          "of the loss back:\n  " +
                          command + "\n");
  Json list = Json::array();
  for (const Candidate& each : candidates) {
    Json json = largest_json(each.largest, points, held);
    json["metric"] = each.criterion->name();
    list.push_back(std::move(json));
  }
  context.print_phases();
  context.output().json({{"command", "recommend"},
                         {"model", options.input.model},
                         {"metric", best.criterion->name()},
                         {"left", best.left()},
                         {"run", command},
                         {"metrics", std::move(list)},
                         {"peak_rss_bytes", context.peak_rss_bytes()},
                         {"phases", context.phases_json()}});
}

}  // namespace

void add_recommend(CLI::App& app, Run& run) {
  auto options = std::make_shared<RecommendOptions>();
  CLI::App* command =
      app.add_subcommand("recommend", "Find the largest cut within a loss of accuracy, and the criterion that allows it");
  add_cut_input(*command, options->input);
  command->remove_option(command->get_option("--evaluate"));
  command
      ->add_option("--accuracy-drop", options->drop.points,
                   "Percentage points of top-1 that may be lost after the refit, on images that are held out")
      ->check(CLI::Range(0.0, 100.0))
      ->default_str("0.5");
  add_hold_out(*command, options->drop);
  command->add_option("--metric", options->metrics, "Criteria to try, for example refit,taylor,wanda")
      ->delimiter(',')
      ->capture_default_str();
  command->add_flag("--use-labels", options->input.use_labels,
                    "taylor and fisher use the labels of --calibrate instead of the network's own predictions");
  add_refit_target(*command, options->refit_target);
  add_selection(*command, options->selection);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek recommend --model net.safetensors --calibrate images:train\n"
      "  elek recommend --model net.safetensors --calibrate images:train --hold-out images:val --accuracy-drop 1 --metric "
      "refit,wanda");
  command->callback([&run, options] { run = [options] { recommend(*options); }; });
}

}  // namespace elek::cli
