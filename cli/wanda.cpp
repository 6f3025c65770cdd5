// SPDX-License-Identifier: Apache-2.0
// elek wanda: removes the weights (or channels) with the smallest |W| * ||X||: small weights, or weights whose inputs are small
// (Sun et al. 2023, arXiv 2306.11695).
#include <charconv>
#include <optional>

#include "cli/commands.h"
#include "cli/cut_command.h"
#include "core/error.h"

namespace elek::cli {
namespace {

struct WandaOptions {
  CutCommand cut;
  std::optional<double> sparsity;
  std::optional<double> channels;
  std::string pattern;
  std::string compare = "output";
  std::string metric = "wanda";
};

void parse_pattern(const std::string& text, WeightTarget& target) {
  const char* const end = text.data() + text.size();
  const auto [colon, first] = std::from_chars(text.data(), end, target.n);
  if (first == std::errc() && colon != end && *colon == ':') {
    const auto [rest, second] = std::from_chars(colon + 1, end, target.m);
    if (second == std::errc() && rest == end && target.n >= 1 && target.n < target.m) return;
  }
  throw UsageError("--pattern '" + text + "': expected n:m with 1 <= n < m (n of m weights are kept), for example 2:4");
}

/// The names of Wanda's channel criteria.
std::vector<std::string> metrics() {
  std::vector<std::string> names;
  for (const Criterion* each : all_criteria()) {
    if (each->traits().family == "wanda") names.push_back(each->name());
  }
  return names;
}

void wanda(WandaOptions options) {
  CutOptions& what = options.cut.what;
  if (options.channels || options.cut.budget.given()) {
    if (options.compare != "output") throw UsageError("--compare is for weights; use it with --sparsity");
    what.criterion = &find_criterion(options.metric);
    what.channels.share = options.channels.value_or(0);
  } else {
    if (!options.cut.layers.empty() || options.cut.selection.scope != "auto" || options.cut.selection.round_to != "auto") {
      throw UsageError("--layer, --scope and --round-to are for channels; use them with --channels or a budget");
    }
    if (options.metric != "wanda")
      throw UsageError("--metric " + options.metric + " is for channels; use it with --channels or a budget");
    what.weights = true;
    what.sparsity.compare = options.compare == "layer" ? Compare::kLayer : Compare::kOutput;
    if (options.pattern.empty()) {
      what.sparsity.sparsity = options.sparsity.value_or(0.5);
    } else {
      if (options.compare != "output") throw UsageError("--compare cannot be used with --pattern; use it with --sparsity");
      parse_pattern(options.pattern, what.sparsity);
    }
  }
  run_cut("wanda", options.cut);
}

}  // namespace

void add_wanda(CLI::App& app, Run& run) {
  auto options = std::make_shared<WandaOptions>();
  CLI::App* command =
      app.add_subcommand("wanda", "Prune weights or channels by |W| * ||X||: watch, score, cut, repair, report");
  auto* sparsity =
      command->add_option("--sparsity", options->sparsity, "Share of the weights to set to zero; 0.5 if no target is given");
  auto* pattern = command->add_option("--pattern", options->pattern,
                                      "n:m: keep n of every m weights along the input channels, for example 2:4");
  auto* channels = command->add_option("--channels", options->channels, "Share of the channels to remove, instead of weights");
  sparsity->excludes(pattern)->excludes(channels);
  pattern->excludes(channels);
  command
      ->add_option("--compare", options->compare,
                   "Where weights compete. output: inside each output channel; layer: in the whole layer")
      ->check(CLI::IsMember({"output", "layer"}))
      ->capture_default_str();
  command->add_option("--metric", options->metric, "Criterion for channels: " + criteria_help("wanda", true))
      ->check(CLI::IsMember(metrics()))
      ->capture_default_str();
  add_cut_options(*command, options->cut);
  command->footer(
      "Examples:\n"
      "  elek wanda --model net.safetensors --calibrate images:train --evaluate images:val --sparsity 0.5 --out "
      "sparse.safetensors\n"
      "  elek wanda --model net.safetensors --calibrate images:train --evaluate images:val --pattern 2:4 --repair none \\\n"
      "             --out sparse.safetensors\n"
      "  elek wanda --model net.safetensors --calibrate images:train --evaluate images:val --channels 0.3 --out "
      "small.safetensors\n"
      "  elek wanda --model net.safetensors --calibrate images:train --sparsity 0.5 --why layer2.0.conv1");
  command->callback([&run, options] { run = [options] { wanda(*options); }; });
}

}  // namespace elek::cli
