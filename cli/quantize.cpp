// SPDX-License-Identifier: Apache-2.0
// elek quantize: makes a network of 8-bit integers from one of f32, dense or pruned, and tells what each way of rounding costs.
// The library does the work (elek/quantize.h).
// Tests: tests/cli/quantize_test.cpp
#include "elek/quantize.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/labelled.h"
#include "cli/network_report.h"
#include "cli/paths.h"
#include "cli/quantized_text.h"
#include "core/error.h"
#include "core/runtime.h"
#include "data/sample.h"
#include "elek/data.h"
#include "elek/session.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct QuantizeCommand {
  Common common;
  std::string model, calibrate, evaluate, out;
  std::string rounding = "nearest", keep_activations = "0";
  std::vector<std::string> keep, report;
  int64_t limit = 1000;
  int64_t batch = 50;
};

/// A network and how well it does on the evaluation data.
struct Stage {
  std::string name;
  std::optional<Accuracy> accuracy;
};

void check(const QuantizeCommand& options) {
  if (options.common.precision != "f32") {
    throw UsageError("--precision " + options.common.precision +
                     ": quantize reads an f32 network and writes an int8 one; leave the option out");
  }
  (void)weight_rounding_from_name(options.rounding);
  check_report_paths("--report", options.report);
  Paths paths;
  paths.reads("--model", options.model)
      .reads_data("--calibrate", options.calibrate)
      .reads_data("--evaluate", options.evaluate)
      .writes("--out", options.out);
  for (const std::string& path : options.report) paths.writes("--report", path);
  paths.check();
}

std::optional<Accuracy> accuracy_of(const Model& model, const QuantizeCommand& options, Context& context) {
  if (options.evaluate.empty()) return std::nullopt;
  return context.phase("inference", [&] {
    SessionOptions session_options = context.session_options(options.batch);
    if (!model.quantization.empty()) session_options.precision = Precision::kInt8;
    Session session(model, session_options);
    const auto source = context.loader(labelled_data(options.evaluate, model, context.output()), 0, options.evaluate);
    ProgressBar bar(context.output(), "evaluate");
    return evaluate(session, *source, bar.callback());
  });
}

Model quantized(const Model& model, WeightRounding rounding, const QuantizeCommand& options, Context& context,
                QuantizeReport& report) {
  return context.phase("quantize", [&] {
    QuantizeOptions how;
    how.rounding = rounding;
    how.keep = {options.keep.begin(), options.keep.end()};
    if (options.keep_activations != "0") {
      how.keep_activations_bytes = parse_bytes("--keep-activations", options.keep_activations);
    }
    const auto data = calibration_data(options.calibrate, model.graph.input_shape(), options.limit, options.common.seed);
    const auto images = context.loader(data, 0, options.calibrate);
    ProgressBar bar(context.output(), "quantize, rounding " + name_of(rounding));
    return quantize(model, *images, context.session_options(options.batch), how, bar.callback(), report);
  });
}

void print(const std::vector<Stage>& stages, const Context& context) {
  if (!stages.front().accuracy) return;
  Table table({"", "top-1", "top-5", "mean loss"});
  for (const Stage& stage : stages) {
    table.add({stage.name, percent(stage.accuracy->top1), percent(stage.accuracy->top5), decimal(stage.accuracy->loss, 4)});
  }
  context.output().result("\n" + table.text());
}

Json json_of(const std::vector<Stage>& stages, double Accuracy::*figure) {
  if (!stages.front().accuracy) return nullptr;
  Json made = Json::object();
  for (const Stage& stage : stages) made[stage.name] = (*stage.accuracy).*figure;
  return made;
}

Json layers_json(const QuantizeReport& report) {
  Json list = Json::array();
  for (const QuantizedLayer& layer : report.layers) {
    list.push_back({{"name", layer.name},
                    {"int8", layer.why_not.empty()},
                    {"why_not", layer.why_not.empty() ? Json(nullptr) : Json(layer.why_not)},
                    {"error_of_nearest", layer.why_not.empty() ? Json(layer.error) : Json(nullptr)}});
  }
  return list;
}

void run_quantize(const QuantizeCommand& options) {
  check(options);
  Context context(options.common);
  const Model model = context.phase("load", [&] { return load_model(options.model, context.memory()); });
  const WeightRounding rounding = weight_rounding_from_name(options.rounding);
  std::vector<Stage> stages{{"dense", accuracy_of(model, options, context)}};
  QuantizeReport report;
  // What the repair of the rounding is worth shows only beside the plain rounding.
  if (rounding == WeightRounding::kMoments && !options.evaluate.empty()) {
    QuantizeReport nearest;
    const Model plain = quantized(model, WeightRounding::kNearest, options, context, nearest);
    stages.push_back({"nearest", accuracy_of(plain, options, context)});
  }
  Model made = quantized(model, rounding, options, context, report);
  stages.push_back({name_of(rounding), accuracy_of(made, options, context)});
  save_model(made, options.out);
  context.output().note(quantized_text(report));
  print(stages, context);
  context.print_phases();
  ReportRequest request;
  request.model = options.out;
  request.beside = options.model;
  request.dense_accuracy = stages.front().accuracy;
  request.accuracy = stages.back().accuracy;
  report_on(std::move(request), options.report, context);
  context.output().result("\n" + options.out + ": run it with --precision int8\n");
  context.output().json({{"command", "quantize"},
                         {"model", options.model},
                         {"out", options.out},
                         {"rounding", name_of(rounding)},
                         {"calibration_samples", report.samples},
                         {"layers", layers_json(report)},
                         {"accuracy", json_of(stages, &Accuracy::top1)},
                         {"top5", json_of(stages, &Accuracy::top5)},
                         {"loss", json_of(stages, &Accuracy::loss)},
                         {"peak_rss_bytes", context.peak_rss_bytes()},
                         {"phases", context.phases_json()}});
}

}  // namespace

void add_quantize(CLI::App& app, Run& run) {
  auto options = std::make_shared<QuantizeCommand>();
  CLI::App* command = app.add_subcommand("quantize", "Make a network of 8-bit integers, and measure what that costs");
  command->add_option("--model", options->model, "Model file to quantise, dense or pruned")->required();
  command->add_option("--calibrate", options->calibrate, "DATA to take ranges and moments from; no labels needed")->required();
  command->add_option("--limit", options->limit, "Largest number of calibration images; 0 = all")
      ->check(CLI::Range(0, 2000000000))
      ->capture_default_str();
  command->add_option("--evaluate", options->evaluate, "DATA with labels, to measure the accuracy of each step");
  command->add_option("--out", options->out, "Model file to write")->required();
  command
      ->add_option("--rounding", options->rounding,
                   "nearest: each weight by itself; moments: all weights of a layer so that its output changes least")
      ->capture_default_str();
  command->add_option("--keep", options->keep, "A layer that stays f32; may be given several times");
  command
      ->add_option("--keep-activations", options->keep_activations,
                   "Memory for activations of all images: fewer passes from the images, the same result")
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Images computed together")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  add_report_option(*command, options->report);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek quantize --model net.safetensors --calibrate images:train --evaluate images:test --out q.safetensors\n"
      "  elek eval --model q.safetensors --data images:test --precision int8");
  command->callback([&run, options] { run = [options] { run_quantize(*options); }; });
}

}  // namespace elek::cli
