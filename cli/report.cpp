// SPDX-License-Identifier: Apache-2.0
// elek report: a page about a network that a person hands on: what was done to it, what it lost and won, and how to make it
// again. Rules of its verdict: docs/report.md. Tests: tests/cli/report_test.cpp
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/network_report.h"
#include "cli/paths.h"
#include "core/error.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct ReportOptions {
  Common common;
  std::string model;
  std::string beside;
  std::vector<std::string> out;
  bool no_times = false;
};

void report(const ReportOptions& options) {
  check_report_paths("--out", options.out);
  Paths paths;
  paths.reads("--model", options.model).reads("--beside", options.beside);
  for (const std::string& path : options.out) paths.writes("--out", path);
  paths.check();
  Context context(options.common);
  ReportRequest request;
  request.model = options.model;
  request.beside = options.beside;
  request.command = command_line();
  request.measure = !options.no_times;
  const Report made = network_report(request, context);
  write_report(made, options.out);
  std::string text = made.verdict + "\n";
  for (const std::string& warning : made.warnings) text += "warning: " + warning + "\n";
  for (const std::string& path : options.out) text += "report: " + path + "\n";
  context.output().result(text);
  context.output().json(report_json(made));
}

}  // namespace

void add_report(CLI::App& app, Run& run) {
  auto options = std::make_shared<ReportOptions>();
  CLI::App* command =
      app.add_subcommand("report", "Write a page about a network: what was done, lost, won, and how to repeat it");
  command->add_option("--model", options->model, "Model file")->required();
  command->add_option("--beside", options->beside, "The network that it was made from, to compare size and speed");
  command->add_option("--out", options->out, "File to write: .html, .md (a model card) or .json; may be given several times")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command->add_flag("--no-times", options->no_times, "Measure no times: a report that is the same on every machine");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek report --model small.safetensors --beside dense.safetensors --out report.html\n"
      "  elek report --model small.safetensors --out card.md --no-times");
  command->callback([&run, options] { run = [options] { report(*options); }; });
}

}  // namespace elek::cli
