// SPDX-License-Identifier: Apache-2.0
// elek coverage: removes the channels that matter least on calibration images.
#include "cli/commands.h"
#include "cli/cut_command.h"
#include "core/error.h"

namespace elek::cli {
namespace {

const std::string kOtherCommand = "wanda";  // the criteria of this family belong to that command

struct CoverageOptions {
  CutCommand cut;
  std::string metric = "auto";
};

/// Resolves the metric auto: std-consumer if the sums are saved, read or explained, otherwise refit. Sets a one-line note that
/// says so.
std::string auto_metric(CutCommand& cut) {
  const char* const option = !cut.save_statistics.empty() ? "--save-statistics"
                             : !cut.statistics.empty()    ? "--statistics"
                             : !cut.why.empty()           ? "--why"
                                                          : nullptr;
  if (option != nullptr) {
    cut.metric_note = "metric std-consumer: " + std::string(option) + " needs sums, and the default metric refit has none";
    return "std-consumer";
  }
  if (cut.replay.empty()) {
    cut.metric_note = "metric refit (default): removes what the repair can replace best; --metric std-consumer is faster";
  }
  return "refit";
}

void coverage(CoverageOptions options) {
  const Criterion& criterion = find_criterion(options.metric == "auto" ? auto_metric(options.cut) : options.metric);
  if (criterion.traits().family == kOtherCommand) {
    throw UsageError("--metric " + options.metric + " belongs to another command: use elek wanda --channels SHARE");
  }
  if (options.cut.input.use_labels && !criterion.traits().reads_labels) {
    throw UsageError("--use-labels cannot be used with --metric " + criterion.name() +
                     ", which reads no labels; leave it out, or use --metric taylor or fisher");
  }
  options.cut.what.criterion = &criterion;
  options.cut.what.use_labels = options.cut.input.use_labels;
  run_cut("coverage", options.cut);
}

}  // namespace

void add_coverage(CLI::App& app, Run& run) {
  auto options = std::make_shared<CoverageOptions>();
  CLI::App* command = app.add_subcommand("coverage", "Prune channels: watch the network, score, cut, repair, report");
  command
      ->add_option(
          "--metric", options->metric,
          "auto (refit; with --save-statistics, --statistics or --why: std-consumer), " + criteria_help(kOtherCommand, false))
      ->capture_default_str();
  command->add_option("--channels", options->cut.what.channels.share, "Share of the channels to remove")->capture_default_str();
  command->add_flag(
      "--use-labels", options->cut.input.use_labels,
      "With --metric taylor or fisher: use the labels of --calibrate. Without it the network's own predictions are "
      "the labels");
  add_cut_options(*command, options->cut);
  command->footer(
      "Examples:\n"
      "  elek coverage --model net.safetensors --calibrate images:train --evaluate images:val --out small.safetensors\n"
      "  elek coverage --model net.safetensors --calibrate idx:data/fashion-mnist:train --evaluate idx:data/fashion-mnist:test "
      "\\\n"
      "                --metric positions --channels 0.5 --layer layer1.0=0.25 --save-statistics sums.safetensors \\\n"
      "                --out small.safetensors\n"
      "  elek coverage --model net.safetensors --calibrate images:train --evaluate images:val --round-to measured --out "
      "here.safetensors\n"
      "  elek coverage --model net.safetensors --calibrate images:train --evaluate images:val --macs 0.5 --out "
      "half.safetensors\n"
      "  elek coverage --model net.safetensors --calibrate images:train --why layer2.0\n"
      "  elek coverage --model net.safetensors --calibrate images:train --evaluate images:val --channels 0.5 --steps 3 --out "
      "s.safetensors\n"
      "  elek coverage --model other.safetensors --calibrate images:train --evaluate images:val --replay small.safetensors \\\n"
      "                --out again.safetensors");
  command->callback([&run, options] { run = [options] { coverage(*options); }; });
}

}  // namespace elek::cli
