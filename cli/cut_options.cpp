// SPDX-License-Identifier: Apache-2.0
// The options that all cutting commands share: their help and the meaning of their values.
#include <charconv>

#include "cli/cut_command.h"
#include "cli/network_report.h"
#include "core/error.h"

namespace elek::cli {
namespace {

/// Adds --accuracy-drop, which excludes all targets, and --replay, which excludes all options that choose what is removed.
void add_other_choices(CLI::App& command, CutCommand& options) {
  std::vector<std::string> targets = budget_names();
  targets.insert(targets.end(), {"--channels", "--sparsity", "--pattern", "--steps"});
  add_accuracy_drop(command, options.drop, targets);
  CLI::Option* replay =
      command.add_option("--replay", options.replay, "Model file of a cut network: cut the same channels or weights again");
  std::vector<std::string> names{"--metric",     "--channels",        "--sparsity",   "--pattern", "--compare",
                                 "--scope",      "--round-to",        "--ignore",     "--layer",   "--tap",
                                 "--use-labels", "--save-statistics", "--statistics", "--why",     "--accuracy-drop"};
  names.insert(names.end(), targets.begin(), targets.end());
  for (const std::string& name : names) {
    if (CLI::Option* other = command.get_option_no_throw(name); other != nullptr) replay->excludes(other);
  }
}

}  // namespace

void add_cut_input(CLI::App& command, CutInput& input) {
  command.add_option("--model", input.model, "Model file")->required();
  command.add_option("--calibrate", input.calibrate, "DATA to watch the network with; needs no labels")->required();
  command
      .add_option("--evaluate", input.evaluate, "DATA with labels, to measure accuracy; use other images than for --calibrate")
      ->required();
  command.add_option("--max-batches", input.max_batches, "Largest number of calibration batches; 0 = all")
      ->check(CLI::Range(0, 100000000))
      ->capture_default_str();
  command.add_option(
      "--keep-activations", input.keep_activations,
      "Keep at most this many bytes of activations of the calibration images (for example 2GB): the metric refit "
      "and the repair refit are then faster and need more memory. Without it none are kept");
  command.add_option("--batch", input.batch, "Images per batch")->check(CLI::Range(1, 65536))->capture_default_str();
}

void add_selection(CLI::App& command, Selection& selection) {
  command
      .add_option(
          "--scope", selection.scope,
          "Where channels compete. layer: inside their group; global: over all groups (with --metric refit the cut saves the "
          "MACs that equal shares save, also with taylor and fisher); auto: global for these three, layer for the others")
      ->check(CLI::IsMember({"auto", "layer", "global"}))
      ->capture_default_str();
  command
      .add_option(
          "--round-to", selection.round_to,
          "How the number of kept channels is rounded. auto: to multiples of 8 in groups of 64 channels and more; N: to "
          "multiples of N; measured: to the steps of the time on this machine")
      ->capture_default_str();
  command.add_option("--ignore", selection.ignore, "Layer or group that is not cut; may be repeated")->take_all();
}

void add_refit_target(CLI::App& command, std::string& target) {
  command
      .add_option(
          "--refit-target", target,
          "What the refit fits at the end of a residual block. layer: the layer's own dense output; block: what is left "
          "of the block's dense sum, so that errors do not add up along the shortcuts")
      ->capture_default_str();
}

void add_cut_options(CLI::App& command, CutCommand& options) {
  add_budget(command, options.budget, {"--channels", "--sparsity", "--pattern"});
  add_cut_input(command, options.input);
  command.get_option("--evaluate")->required(false);  // not needed if nothing is cut
  add_selection(command, options.selection);
  command.add_option("--layer", options.layers, "NAME=SHARE: the share to remove from one layer or group; may be repeated")
      ->take_all();
  CLI::Option* const repair =
      command
          .add_option(
              "--repair", options.repair,
              "auto (refit, then distill if it fits into --distill-seconds), refit (fit the weights by least squares), distill "
              "(refit, then train until the logits are the dense network's; no labels), bn (re-estimate batch norm), refit+bn "
              "or "
              "none")
          ->capture_default_str();
  command
      .add_option("--distill-passes", options.what.distill.passes,
                  "Passes of the distillation over the calibration images; 0: 10, or 80 if much was lost")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  command.add_option("--distill-seconds", options.what.auto_seconds, "Most time that --repair auto gives the distillation")
      ->check(CLI::Range(1.0, 1e9))
      ->capture_default_str();
  add_refit_target(command, options.refit_target);
  command.add_flag("--no-repair", options.no_repair, "The same as --repair none")->excludes(repair);
  command
      .add_option(
          "--tap", options.tap,
          "Which value of a layer is watched. relu: its stored value, which the next layer reads; conv: the raw convolution")
      ->capture_default_str();
  auto* save = command.add_option("--save-statistics", options.save_statistics, "Write the sums to this file");
  command.add_option("--statistics", options.statistics, "Read the sums from this file instead of watching")->excludes(save);
  add_report_option(command, options.report);
  command.add_option("--out", options.out, "Model file to write; without it nothing is cut, only watched");
  command.add_flag("--dry-run", options.dry_run,
                   "Write no file: show what would go, how much, and the accuracy that is left after the refit. A repair that "
                   "distils becomes refit, which takes less time; a distillation mostly adds to that accuracy");
  command.add_option("--quantize", options.quantize, "int8: quantise the repaired network, as elek quantize does")
      ->check(CLI::IsMember({"int8"}));
  command
      .add_option("--why", options.why,
                  "Group (or layer, for weights) to explain: sums, score, rank and what is kept; may be repeated")
      ->take_all();
  command
      .add_option("--steps", options.what.steps,
                  "Reach the target in this many rounds; each one watches, cuts and repairs the network")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  add_other_choices(command, options);
  add_trace(command, options.common, "Record");
  add_common(command, options.common);
}

std::optional<Scope> scope_of(const std::string& text) {
  if (text == "auto") return std::nullopt;
  return text == "global" ? Scope::kGlobal : Scope::kLayer;
}

std::string criteria_help(const std::string& family, bool of_it) {
  std::string text;
  for (const Criterion* each : all_criteria()) {
    if ((each->traits().family == family) != of_it) continue;
    text += (text.empty() ? "" : ", ") + each->name() + " (" + each->traits().about + ")";
  }
  return text;
}

void resolve(const Selection& selection, ChannelTarget& target) {
  target.ignore = selection.ignore;
  if (selection.round_to == "auto" || selection.round_to == "measured") return;  // measured needs a device: run_cut()
  const char* const end = selection.round_to.data() + selection.round_to.size();
  const auto [rest, error] = std::from_chars(selection.round_to.data(), end, target.round_to);
  if (error != std::errc() || rest != end || target.round_to < 1) {
    throw UsageError("--round-to '" + selection.round_to + "': expected auto, measured or a number of at least 1");
  }
}

}  // namespace elek::cli
