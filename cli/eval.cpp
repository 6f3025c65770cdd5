// SPDX-License-Identifier: Apache-2.0
// elek eval: accuracy of a model on labelled data, in the order of the data.
#include <utility>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/labelled.h"
#include "elek/data.h"
#include "elek/session.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct EvalOptions {
  Common common;
  std::string model;
  std::string data;
  int64_t limit = 0;
  int64_t batch = 50;
};

void eval(const EvalOptions& options) {
  Context context(options.common);
  Model model = context.phase("load", [&] { return load_model(options.model, context.memory()); });
  const auto data = labelled_data(options.data, model, context.output(), options.limit);
  SessionMemory memory;
  const Accuracy accuracy = context.phase("inference", [&] {
    Session session(std::move(model), context.session_options(options.batch));
    memory = session.memory();
    const auto source = context.loader(data, 0, options.data);
    ProgressBar bar(context.output(), "evaluate");
    return evaluate(session, *source, bar.callback());
  });
  const double seconds = context.phases().back().time_ms / 1e3;
  const double rate = static_cast<double>(accuracy.samples) / seconds;
  Table table({options.model, ""});
  table.add({"top-1", percent(accuracy.top1)});
  table.add({"top-5", percent(accuracy.top5)});
  table.add({"mean loss", decimal(accuracy.loss, 4)});
  table.add({"images", with_commas(accuracy.samples)});
  table.add({"images/s", decimal(rate, 0)});
  table.add({"weights", megabytes(memory.weights_bytes)});
  table.add({"arena", megabytes(memory.arena_bytes)});
  context.output().result(table.text());
  context.print_phases();
  context.output().json({{"command", "eval"},
                         {"model", options.model},
                         {"data", options.data},
                         {"top1", accuracy.top1},
                         {"top5", accuracy.top5},
                         {"loss", accuracy.loss},
                         {"samples", accuracy.samples},
                         {"images_per_second", rate},
                         {"peak_rss_bytes", context.peak_rss_bytes()},
                         {"memory", memory_json(memory)},
                         {"phases", context.phases_json()}});
}

}  // namespace

void add_eval(CLI::App& app, Run& run) {
  auto options = std::make_shared<EvalOptions>();
  CLI::App* command = app.add_subcommand("eval", "Measure top-1, top-5 and mean loss on labelled data");
  command->add_option("--model", options->model, "Model file")->required();
  command->add_option("--data", options->data, "DATA with labels")->required();
  command->add_option("--limit", options->limit, "Largest number of images; 0 = all")
      ->check(CLI::Range(0, 2000000000))
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Images per batch")->check(CLI::Range(1, 65536))->capture_default_str();
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek eval --model net.safetensors --data idx:data/fashion-mnist:test\n"
      "  elek eval --model net.safetensors --data images:val[0:5000] --json");
  command->callback([&run, options] { run = [options] { eval(*options); }; });
}

}  // namespace elek::cli
