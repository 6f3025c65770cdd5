// SPDX-License-Identifier: Apache-2.0
// elek tune: trains a network, most often a cut one, until its logits are those of a teacher, or until it finds the images'
// labels, or both. The library does the work (elek/train.h).
#include <optional>
#include <utility>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/cut.h"
#include "cli/distillation_text.h"
#include "cli/labelled.h"
#include "cli/paths.h"
#include "core/error.h"
#include "core/runtime.h"
#include "data/sample.h"
#include "elek/data.h"
#include "elek/session.h"
#include "elek/train.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

constexpr double kLabelsBeside = 0.5;  // share of the labels beside a teacher

struct TuneCommand {
  Common common;
  std::string model, teacher, data, evaluate, out;
  int64_t limit = 0;
  bool use_labels = false;
  DistillOptions how;
};

/// Checks what the command line alone shows.
void check(const TuneCommand& options) {
  if (options.teacher.empty() && !options.use_labels) {
    throw UsageError("--teacher is required: the dense model file to learn from; or --use-labels, to learn from the labels");
  }
  Paths()
      .reads("--model", options.model)
      .reads("--teacher", options.teacher)
      .reads_data("--data", options.data)
      .reads_data("--evaluate", options.evaluate)
      .writes("--out", options.out)
      .writes("--trace", options.common.trace)
      .check();
}

void check_fits(const Model& model, const Model& teacher, const TuneCommand& options) {
  const auto classes = [](const Model& m) { return m.graph.node(m.graph.output()).shape.elements(); };
  if (model.graph.input_shape() == teacher.graph.input_shape() && classes(model) == classes(teacher)) return;
  throw UsageError("--teacher " + options.teacher + " maps " + to_string(teacher.graph.input_shape()) + " to " +
                   std::to_string(classes(teacher)) + " logits, --model " + options.model + " maps " +
                   to_string(model.graph.input_shape()) + " to " + std::to_string(classes(model)) +
                   "; both must take the same images and tell the same classes");
}

std::optional<Accuracy> accuracy_of(const Model& model, const TuneCommand& options, Context& context) {
  if (options.evaluate.empty()) return std::nullopt;
  return context.phase("inference", [&] {
    Session session(model, context.session_options(options.how.batch));
    const auto source = context.loader(labelled_data(options.evaluate, model, context.output()), 0, options.evaluate);
    ProgressBar bar(context.output(), "evaluate");
    return evaluate(session, *source, bar.callback());
  });
}

HistoryEntry history_entry(const Model& model, const BatchSource& images, const TuneCommand& options,
                           const DistillReport& report) {
  HistoryEntry entry;
  entry.action = "tune";
  entry.repair = options.how.labels <= 0 ? "distill" : options.how.labels < 1 ? "distill+labels" : "labels";
  entry.source_hash = to_hex(hash(model));
  entry.repair_data = options.data;
  entry.repair_samples = images.samples();
  entry.target = "passes=" + decimal(report.passes, 1);
  entry.seed = options.how.seed;
  entry.version = ELEK_VERSION;
  return entry;
}

Json stage(const std::optional<Accuracy>& before, const std::optional<Accuracy>& after, double Accuracy::*figure) {
  if (!before) return nullptr;
  return {{"before", (*before).*figure}, {"after", (*after).*figure}};
}

void print(const std::optional<Accuracy>& before, const std::optional<Accuracy>& after, const Context& context) {
  if (!before) return;
  Table table({"", "before", "after"});
  table.add({"top-1", percent(before->top1), percent(after->top1)});
  table.add({"top-5", percent(before->top5), percent(after->top5)});
  table.add({"mean loss", decimal(before->loss, 4), decimal(after->loss, 4)});
  context.output().result("\n" + table.text());
}

void tune(TuneCommand options) {
  check(options);
  options.how.seed = options.common.seed;
  options.how.labels = !options.use_labels ? 0 : options.teacher.empty() ? 1 : kLabelsBeside;
  Context context(options.common);
  Model model, teacher;
  std::unique_ptr<BatchSource> images;
  context.phase("load", [&] {
    model = load_model(options.model, context.memory());
    teacher = options.teacher.empty() ? model : load_model(options.teacher, context.memory());
    check_fits(model, teacher, options);
    const auto all = options.use_labels ? labelled_data(options.data, model, context.output())
                                        : parse_data(options.data, model.graph.input_shape());
    images = context.loader(shuffled_sample(all, options.limit, options.common.seed), 0, options.data);
  });
  const std::optional<Accuracy> before = accuracy_of(model, options, context);
  DistillReport report;
  Model tuned = context.phase("repair", [&] {
    ProgressBar bar(context.output(), "tune");
    return distill(teacher, model, *images, context.session_options(options.how.batch), options.how, bar.callback(), report);
  });
  context.output().note(distillation_text(report));
  const std::optional<Accuracy> after = accuracy_of(tuned, options, context);
  if (report.improved) tuned.history.push_back(history_entry(model, *images, options, report));
  save_model(tuned, options.out);
  print(before, after, context);
  context.print_phases();
  context.output().result("\n" + options.out + (report.improved ? "" : ": the same network as " + options.model) + "\n");
  context.output().json({{"command", "tune"},
                         {"model", options.model},
                         {"out", options.out},
                         {"distillation", distillation_json(report)},
                         {"accuracy", stage(before, after, &Accuracy::top1)},
                         {"top5", stage(before, after, &Accuracy::top5)},
                         {"loss", stage(before, after, &Accuracy::loss)},
                         {"peak_rss_bytes", context.peak_rss_bytes()},
                         {"phases", context.phases_json()}});
}

}  // namespace

void add_tune(CLI::App& app, Run& run) {
  auto options = std::make_shared<TuneCommand>();
  CLI::App* command = app.add_subcommand("tune", "Train a cut network, with a teacher, with labels or with both");
  command->add_option("--model", options->model, "Model file to train")->required();
  command->add_option("--teacher", options->teacher, "Dense model file; the network learns its logits, no labels needed");
  command->add_flag("--use-labels", options->use_labels, "Learn the labels of --data; beside --teacher, both count the same");
  command->add_option("--data", options->data, "DATA to train on")->required();
  command->add_option("--limit", options->limit, "Largest number of images; 0 = all")
      ->check(CLI::Range(0, 2000000000))
      ->capture_default_str();
  command->add_option("--evaluate", options->evaluate, "DATA with labels, to measure accuracy before and after");
  command->add_option("--out", options->out, "Model file to write")->required();
  command->add_option("--passes", options->how.passes, "Passes over the images; 0: 10, or 80 if much is to be won")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  command->add_option("--seconds", options->how.seconds, "Most time for training; 0 = no limit")
      ->check(CLI::Range(0.0, 1e9))
      ->capture_default_str();
  command->add_option("--step", options->how.step, "Step of Adam, as a share of each tensor's root mean square")
      ->check(CLI::Range(1e-9, 1.0))
      ->capture_default_str();
  command->add_option("--batch", options->how.batch, "Images per step")->check(CLI::Range(1, 65536))->capture_default_str();
  add_trace(*command, options->common, "Record");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek tune --model small.safetensors --teacher dense.safetensors --data images:train --out tuned.safetensors\n"
      "  elek tune --model small.safetensors --use-labels --data idx:data --evaluate idx:data:test --out tuned.safetensors");
  command->callback([&run, options] { run = [options] { tune(*options); }; });
}

}  // namespace elek::cli
