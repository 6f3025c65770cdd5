// SPDX-License-Identifier: Apache-2.0
// elek prepare: builds a network by family and depth, fills it from a weights file or at random, checks it on data, and saves
// it as a self-describing file.
#include "cli/prepare.h"

#include <filesystem>
#include <fstream>
#include <optional>

#include "cli/commands.h"
#include "cli/prepare_onnx.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/data.h"
#include "elek/model.h"
#include "elek/session.h"
#include "models/model_file.h"
#include "models/weights_file.h"

namespace elek::cli {
namespace {

struct PrepareOptions {
  Common common;
  Preparation what;
  std::string labels_file;
  std::string evaluate;
  int64_t batch = 50;
  std::string out;
};

void expect_equal(const char* option, int64_t asked, int64_t found, const std::string& file) {
  if (asked != found) {
    throw UsageError(std::string(option) + " asks for " + std::to_string(asked) + ", but " + file + " has " +
                     std::to_string(found) + "; leave the option out, or take another file");
  }
}

ResNetSpec spec_of(const Preparation& what) {
  ResNetSpec spec = resnet_spec(what.arch);
  if (!what.stem.empty()) spec.stem = what.stem == "cifar" ? Stem::kCifar : Stem::kImageNet;
  if (!what.input.empty()) spec.input = {what.input[0], what.input[1], what.input[2]};
  if (what.classes) spec.classes = *what.classes;
  if (!what.shortcut.empty()) spec.shortcut = what.shortcut == "A" ? Shortcut::kA : Shortcut::kB;
  if (what.width) {
    // The channels of the first stage; each later stage has twice as many, as in the papers.
    for (size_t stage = 0; stage < spec.widths.size(); ++stage) spec.widths[stage] = *what.width << stage;
  }
  return spec;
}

Preprocessing preprocessing_of(const Preparation& what, int64_t channels) {
  Preprocessing preprocessing = default_preprocessing(channels);
  if (!what.mean.empty()) preprocessing = {what.mean, what.stddev};
  for (const auto* values : {&preprocessing.mean, &preprocessing.stddev}) {
    if (static_cast<int64_t>(values->size()) != channels) {
      throw UsageError("--mean and --std have " + std::to_string(values->size()) + " values, but the network's input has " +
                       std::to_string(channels) + " channels");
    }
  }
  for (const float stddev : preprocessing.stddev) {
    if (!(stddev > 0)) throw UsageError("--std: every value must be greater than 0");
  }
  return preprocessing;
}

void prepare(const PrepareOptions& options) {
  Context context(options.common);
  check_output_path(options.out);
  Preparation what = options.what;
  if (!options.labels_file.empty()) what.labels = read_labels(options.labels_file);
  Model model = context.phase("load", [&] { return prepare_model(what, context); });

  Json accuracy;
  if (!options.evaluate.empty()) {
    const auto data = parse_data(options.evaluate, model.graph.input_shape());
    const auto classes = static_cast<size_t>(model.graph.node(model.graph.output()).shape.channels);
    if (model.labels.empty() && data->labels().size() == classes) model.labels = data->labels();
    const Accuracy measured = context.phase("inference", [&] {
      Session session(model, context.session_options(options.batch));
      const auto source = context.loader(data, 0, options.evaluate);
      ProgressBar bar(context.output(), "evaluate");
      return evaluate(session, *source, bar.callback());
    });
    model.history.back().evaluation =
        Evaluation{options.evaluate, to_hex(content_hash(*data)), measured.samples, measured.top1, {}, {}};
    accuracy = {{"top1", measured.top1}, {"top5", measured.top5}, {"loss", measured.loss}, {"samples", measured.samples}};
    context.output().result("top-1 " + percent(measured.top1) + ", top-5 " + percent(measured.top5) + ", loss " +
                            decimal(measured.loss, 4) + " on " + with_commas(measured.samples) + " images\n");
  }
  save_model(model, options.out);

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
                         {"accuracy", accuracy},
                         {"phases", context.phases_json()}});
}

}  // namespace

std::vector<std::string> read_labels(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw InputError(path + ": cannot be read; --labels wants a text file with one class name a line");
  std::vector<std::string> labels;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    labels.push_back(line);
  }
  return labels;
}

Model prepare_model(const Preparation& what, Context& context) {
  if (!what.weights.empty() && is_onnx(what.weights)) return prepare_onnx(what, context);
  if (what.arch.empty()) throw UsageError("prepare: which network? Give --arch NAME; only ONNX files tell it themselves");
  ResNetSpec spec = spec_of(what);
  std::optional<WeightsFile> weights;
  if (!what.weights.empty()) {
    weights = WeightsFile::open(what.weights);
    const ResNetSpec asked = spec;
    spec = infer_from_weights(spec, *weights);
    if (!what.input.empty()) expect_equal("--input (channels)", asked.input.channels, spec.input.channels, what.weights);
    if (what.classes) expect_equal("--classes", asked.classes, spec.classes, what.weights);
  }
  Model model;
  model.architecture = spec.name;
  model.graph = build_resnet(spec);
  model.parameters = weights ? load_weights(*weights, model.graph, context.memory())
                             : random_parameters(model.graph, *what.random, context.memory());
  model.preprocessing = preprocessing_of(what, spec.input.channels);
  if (!what.labels.empty() && static_cast<int64_t>(what.labels.size()) != spec.classes) {
    throw UsageError("labels: expected one name for each of the " + std::to_string(spec.classes) + " classes, found " +
                     std::to_string(what.labels.size()));
  }
  model.labels = what.labels;
  validate(model, what.weights.empty() ? "--random" : what.weights);
  HistoryEntry entry;
  entry.action = "prepare";
  entry.target = what.weights.empty() ? "random" : std::filesystem::path(what.weights).filename().string();
  entry.seed = what.random.value_or(0);
  entry.version = ELEK_VERSION;
  model.history.push_back(entry);
  return model;
}

void add_prepare(CLI::App& app, Run& run) {
  auto options = std::make_shared<PrepareOptions>();
  Preparation& what = options->what;
  CLI::App* command = app.add_subcommand("prepare", "Import or build a model, check it on data, save it");
  command->add_option("--arch", what.arch,
                      "Family and depth: resnet18 ... resnet152, wide_resnet50_2, resnext50_32x4d, cifar_resnet20 ... (not for "
                      "ONNX files)");
  command->add_option("--stem", what.stem, "imagenet (7x7, stride 2, max pool) or cifar (3x3)")
      ->check(CLI::IsMember({"imagenet", "cifar"}));
  command->add_option("--classes", what.classes, "Outputs of the classifier (read from --weights where given)")
      ->check(CLI::Range(1, 10000000));
  command->add_option("--input", what.input, "Image size: C,H,W")->delimiter(',')->expected(3)->check(CLI::Range(1, 65536));
  auto* width =
      command->add_option("--width", what.width, "Channels of the first stage, for --random")->check(CLI::Range(1, 65536));
  auto* shortcut = command->add_option("--shortcut", what.shortcut, "A (slice and zeros) or B (1x1 convolution), for --random")
                       ->check(CLI::IsMember({"A", "B"}));
  auto* weights =
      command->add_option("--weights", what.weights, "A .safetensors file with torchvision's names, or an .onnx file");
  auto* random = command->add_option("--random", what.random, "Seed of random weights instead of a file");
  weights->excludes(random)->excludes(width)->excludes(shortcut);  // a weights file gives these itself
  auto* mean = command->add_option("--mean", what.mean, "Of the training pixels scaled to 0 ... 1, one a channel: M,M,M")
                   ->delimiter(',');
  auto* stddev = command->add_option("--std", what.stddev, "Standard deviation, one a channel: S,S,S")->delimiter(',');
  mean->needs(stddev);
  stddev->needs(mean);
  command->add_option("--labels", options->labels_file, "Text file with a class name a line");
  command->add_option("--evaluate", options->evaluate, "DATA to measure its accuracy on");
  command->add_option("--batch", options->batch, "Images a run")->check(CLI::Range(1, 65536))->capture_default_str();
  command->add_option("--out", options->out, "Model file to write")->required();
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek prepare --arch resnet50 --weights resnet50.safetensors --out net.safetensors\n"
      "  elek prepare --arch cifar_resnet20 --weights w.safetensors --input 1,28,28 --mean 0.2860 --std 0.3530 \\\n"
      "               --evaluate idx:data/fashion-mnist:test --out net.safetensors\n"
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
