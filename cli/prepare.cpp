// SPDX-License-Identifier: Apache-2.0
// elek prepare: takes a network from a weights file, or builds one by family and depth, checks it on data, and saves it as a
// self-describing file.
#include "cli/prepare.h"

#include <filesystem>
#include <utility>

#include "cli/commands.h"
#include "cli/labelled.h"
#include "cli/paths.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/data.h"
#include "elek/model.h"
#include "elek/session.h"

namespace elek::cli {
namespace {

struct PrepareOptions {
  Common common;
  Preparation what;
  std::string labels_file;
  std::string evaluate;
  bool try_readings = false;
  int64_t batch = 50;
  std::string out;
};

/// Measures the model and writes the result into its history.
Accuracy measure(Model& model, const PrepareOptions& options, Context& context) {
  const auto data = labelled_data(options.evaluate, model, context.output());
  const Accuracy measured = context.phase("inference", [&] {
    Session session(model, context.session_options(options.batch));
    const auto source = context.loader(data, 0, options.evaluate);
    ProgressBar bar(context.output(), "evaluate");
    return evaluate(session, *source, bar.callback());
  });
  model.history.back().evaluation =
      Evaluation{options.evaluate, to_hex(content_hash(*data)), measured.samples, measured.top1, {}, {}};
  if (model.labels.empty() && !data->labels().empty()) {
    context.output().note("note: the model has no names of classes; give them in its own order with --labels FILE");
  }
  return measured;
}

/// Prints the accuracy, and returns it for --json.
Json report(const Accuracy& measured, const Output& output) {
  output.result("top-1 " + percent(measured.top1) + ", top-5 " + percent(measured.top5) + ", loss " +
                decimal(measured.loss, 4) + " on " + with_commas(measured.samples) + " images\n");
  return {{"top1", measured.top1}, {"top5", measured.top5}, {"loss", measured.loss}, {"samples", measured.samples}};
}

Json assumptions_json(const std::vector<Taken>& taken) {
  Json list = Json::array();
  for (const Taken& each : taken) {
    list.push_back({{"what", name_of(each.what)}, {"value", each.value}, {"source", each.source}});
  }
  return list;
}

/// The size of the images to measure on. A folder has no one size, and reading it here would give its warnings twice.
std::optional<ImageShape> size_of_images(const PrepareOptions& options) {
  const bool wanted = !options.what.weights.empty() && options.what.input.empty() && !options.evaluate.empty();
  if (!wanted || options.evaluate.starts_with("images:")) return std::nullopt;
  return parse_data(options.evaluate, {})->shape();
}

void prepare(const PrepareOptions& options) {
  Context context(options.common);
  Paths()
      .reads_with_parts("--weights", options.what.weights)
      .reads("--labels", options.labels_file)
      .reads_data("--evaluate", options.evaluate)
      .writes("--out", options.out)
      .check();
  Preparation what = options.what;
  what.images = size_of_images(options);
  if (!options.labels_file.empty()) what.labels = read_labels(options.labels_file);
  Import prepared = context.phase("load", [&] {
    if (!options.try_readings) return prepare_model(what, context);
    return import_file(what, choose_reading(what, options.evaluate, options.batch, context), context);
  });
  tell(prepared, context.output());
  Model& model = prepared.model;
  std::optional<Accuracy> measured;
  if (!options.evaluate.empty()) measured = measure(model, options, context);
  save_model(model, options.out);  // before anything is printed: the reader of a pipe may be gone

  const Json accuracy = measured ? report(*measured, context.output()) : Json();
  const size_t file_bytes = std::filesystem::file_size(options.out);
  context.output().result(options.out + ": " + model.architecture + ", input " + to_string(model.graph.input_shape()) + ", " +
                          with_commas(parameter_count(model)) + " parameters, " + readable_count(macs(model.graph)) +
                          " MACs, " + readable_bytes(file_bytes) + "\n");
  context.output().json({{"command", "prepare"},
                         {"out", options.out},
                         {"architecture", model.architecture},
                         {"parameters", parameter_count(model)},
                         {"macs", macs(model.graph)},
                         {"file_bytes", file_bytes},
                         {"assumptions", assumptions_json(prepared.taken)},
                         {"notes", prepared.notes},
                         {"accuracy", accuracy},
                         {"phases", context.phases_json()}});
}

/// What a weights file does not show.
void add_reading_options(CLI::App& command, Preparation& what) {
  constexpr const char* kGroup = "What a weights file does not show";
  const auto option = [&](const std::string& name, auto& value, const std::string& text) {
    return command.add_option(name, value, text)->group(kGroup);
  };
  option("--input", what.input, "Image size: C,H,W")->delimiter(',')->expected(3)->check(CLI::Range(1, 65536));
  auto* mean = option("--mean", what.mean, "Of the training pixels scaled to 0 ... 1, one a channel: M,M,M")->delimiter(',');
  auto* stddev = option("--std", what.stddev, "Standard deviation, one a channel: S,S,S")->delimiter(',');
  mean->needs(stddev);
  stddev->needs(mean);
  option("--shortcut", what.shortcut,
         "A: slice and zeros; A-middle, A-end: zeros on both sides, behind; B: 1x1 convolution. From a file: expected")
      ->check(CLI::IsMember({"A", "A-middle", "A-end", "B"}));
  option("--stride-on", what.stride_on,
         "The convolution of a bottleneck that has the stride: 3x3 (torchvision) or 1x1 (Caffe, Keras)")
      ->check(CLI::IsMember({"1x1", "3x3"}));
  option("--stem-stride", what.stem_stride, "Stride of the first convolution")->check(CLI::Range(1, 8));
  auto* pool = command.add_flag_callback(
      "--max-pool", [&what] { what.max_pool = true; }, "A 3x3 max pool with stride 2 behind the stem");
  auto* none = command.add_flag_callback(
      "--no-max-pool", [&what] { what.max_pool = false; }, "No max pool behind the stem");
  pool->group(kGroup)->excludes(none);
  none->group(kGroup);
  option("--stage-strides", what.strides, "Strides of the stages: 1,2,2,2")->delimiter(',')->check(CLI::Range(1, 8));
  option("--bn-eps", what.epsilon, "Epsilon of batch norm (PyTorch 1e-5, Keras 1e-3)")->check(CLI::PositiveNumber);
  option("--head", what.head, "Name of the classifier in the file; none: the output is the features");
  option("--rename", what.renames, "OLD=NEW: read the tensor or layer OLD as NEW; may be given several times");
  option("--key", what.key, "Which network of a file that holds several, such as a model and its moving average");
}

}  // namespace

void add_prepare(CLI::App& app, Run& run) {
  auto options = std::make_shared<PrepareOptions>();
  Preparation& what = options->what;
  CLI::App* command = app.add_subcommand("prepare", "Import or build a model, check it on data, save it");
  auto* weights =
      command->add_option("--weights", what.weights, "A file of weights, or an ONNX file; it tells which network it is");
  auto* random = command->add_option("--random", what.random, "Seed of random weights instead of a file");
  command->add_option("--arch", what.arch,
                      "Family and depth: resnet18 ... resnet152, wide_resnet50_2, resnext50_32x4d, cifar_resnet20 ... "
                      "For --random; with --weights: what is expected");
  command->add_option("--stem", what.stem, "imagenet (7x7, stride 2, max pool) or cifar (3x3)")
      ->check(CLI::IsMember({"imagenet", "cifar"}));
  command->add_option("--classes", what.classes, "Outputs of the classifier (read from --weights where given)")
      ->check(CLI::Range(1, 10000000));
  auto* width =
      command->add_option("--width", what.width, "Channels of the first stage, for --random")->check(CLI::Range(1, 65536));
  weights->excludes(random)->excludes(width);  // a weights file gives these itself
  command->add_option("--labels", options->labels_file, "Text file with a class name a line");
  auto* data = command->add_option("--evaluate", options->evaluate, "DATA to measure its accuracy on");
  command
      ->add_flag("--try", options->try_readings, "Choose among the readings that the file allows by the labels of --evaluate")
      ->needs(data)
      ->needs(weights);
  command->add_option("--batch", options->batch, "Images a run")->check(CLI::Range(1, 65536))->capture_default_str();
  command->add_option("--out", options->out, "Model file to write")->required();
  add_reading_options(*command, what);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek prepare --weights resnet50.safetensors --out net.safetensors\n"
      "  elek prepare --weights w.safetensors --input 1,28,28 --mean 0.2860 --std 0.3530 \\\n"
      "               --evaluate idx:data/fashion-mnist:test --out net.safetensors\n"
      "  elek prepare --weights w.safetensors --evaluate cifar10:DIR --try --out net.safetensors\n"
      "  elek prepare --arch resnet18 --stem cifar --input 3,32,32 --classes 10 --random 1 --out net.safetensors");
  command->callback([&run, options] {
    run = [options] {
      if (options->what.weights.empty() && !options->what.random) {
        throw UsageError("prepare: where are the weights? Give --weights FILE or --random SEED");
      }
      prepare(*options);
    };
  });
}

}  // namespace elek::cli
