// SPDX-License-Identifier: Apache-2.0
// elek run: writes the logits of every image to a file, or prints the five best classes of a few images.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/paths.h"
#include "cli/timing.h"
#include "core/error.h"
#include "core/runtime.h"
#include "elek/data.h"
#include "elek/memory.h"
#include "elek/session.h"
#include "models/model_file.h"
#include "models/safetensors.h"

namespace elek::cli {
namespace {

struct RunOptions {
  Common common;
  std::string model;
  std::string data;
  std::string out;
  std::vector<std::string> images;
  int64_t batch = 50;
  std::string kernels = "rule";
};

int64_t images_not_finite(std::span<const float> logits, size_t classes) {
  int64_t count = 0;
  for (size_t first = 0; first < logits.size(); first += classes) {
    const std::span<const float> one = logits.subspan(first, classes);
    count += std::all_of(one.begin(), one.end(), [](float logit) { return std::isfinite(logit); }) ? 0 : 1;
  }
  return count;
}

void warn_of_not_finite(int64_t count, int64_t images, const std::string& model) {
  if (count == 0) return;
  warn(model + ": the logits of " + std::to_string(count) + " of " + std::to_string(images) +
       " images are NaN or infinite; its weights overflow, or its preprocessing is wrong");
}

void run_images(const RunOptions& options) {
  Context context(options.common);
  Model model = load_model(options.model, context.memory());
  const std::vector<std::string> labels = model.labels;
  const auto data = image_files(options.images);
  const int64_t batch = std::min<int64_t>(options.batch, data->size());
  SessionOptions session_options = context.session_options(batch);
  session_options.kernels = kernel_choice(options.kernels);
  Session session(std::move(model), session_options);
  const auto source = context.loader(data, 0, "images");
  Json images = Json::array();
  Table table({"image", "class", "probability"});
  const auto label_of = [&labels](size_t index) {
    return index < labels.size() ? labels[index] : "class " + std::to_string(index);
  };
  int64_t done = 0, not_finite = 0;
  for_each_batch(session, *source, 0, {}, [&](const Slot& slot, std::span<const float> logits) {
    const size_t classes = logits.size() / static_cast<size_t>(slot.count);
    not_finite += images_not_finite(logits, classes);
    for (int64_t i = 0; i < slot.count; ++i, ++done) {
      const std::string& file = options.images[static_cast<size_t>(done)];
      Json top = Json::array();
      bool first = true;
      for (const ClassProbability& guess : top_classes(logits.subspan(static_cast<size_t>(i) * classes, classes), 5)) {
        table.add({first ? file : "", label_of(guess.index), percent(guess.probability)});
        top.push_back({{"class", guess.index}, {"label", label_of(guess.index)}, {"probability", guess.probability}});
        first = false;
      }
      images.push_back({{"file", file}, {"top", top}});
    }
  });
  warn_of_not_finite(not_finite, done, options.model);
  context.output().result(table.text());
  context.output().json({{"command", "run"}, {"model", options.model}, {"images", images}});
}

void run_data(const RunOptions& options) {
  Context context(options.common);
  Paths().reads("--model", options.model).reads_data("--data", options.data).writes("--out", options.out).check();
  Model model = context.phase("load", [&] { return load_model(options.model, context.memory()); });
  const auto data = parse_data(options.data, model.graph.input_shape());
  const int64_t classes = model.graph.node(model.graph.output()).shape.elements();
  const Tensor logits({data->size(), classes}, DType::kF32, context.memory(), "logits of all images");
  int64_t not_finite = 0;
  context.phase("inference", [&] {
    SessionOptions session_options = context.session_options(options.batch);
    session_options.kernels = kernel_choice(options.kernels);
    Session session(std::move(model), session_options);
    const auto source = context.loader(data, 0, options.data);
    ProgressBar bar(context.output(), "run");
    auto* to = static_cast<std::byte*>(logits.data());
    for_each_batch(session, *source, 0, bar.callback(), [&](const Slot&, std::span<const float> batch) {
      not_finite += images_not_finite(batch, static_cast<size_t>(classes));
      std::memcpy(to, batch.data(), batch.size_bytes());
      to += batch.size_bytes();
    });
  });
  SafetensorsEntry entry{
      "logits", DType::kF32, {data->size(), classes}, {static_cast<const std::byte*>(logits.data()), logits.bytes()}};
  write_safetensors(options.out, {entry}, {{"data", options.data}});
  warn_of_not_finite(not_finite, data->size(), options.model);
  context.output().result(options.out + ": logits of " + with_commas(data->size()) + " images, " + with_commas(classes) +
                          " classes\n");
  context.output().json({{"command", "run"},
                         {"model", options.model},
                         {"data", options.data},
                         {"out", options.out},
                         {"samples", data->size()},
                         {"classes", classes},
                         {"peak_rss_bytes", context.peak_rss_bytes()},
                         {"phases", context.phases_json()}});
}

}  // namespace

void add_run(CLI::App& app, Run& run) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "Write the logits of a data set, or print the best classes of a few images");
  command->add_option("--model", options->model, "Model file")->required();
  auto* data = command->add_option("--data", options->data, "DATA with or without labels");
  auto* out = command->add_option("--out", options->out,
                                  "File for the tensor \"logits\" [images, classes], f32, in the order of the data");
  data->needs(out);
  out->needs(data);
  command->add_option("images", options->images, "Image files, JPEG or PNG")->excludes(data);
  command->add_option("--batch", options->batch, "Images per batch")->check(CLI::Range(1, 65536))->capture_default_str();
  add_kernels(*command, options->kernels);
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek run --model net.safetensors photo.jpg other.png\n"
      "  elek run --model net.safetensors --data images:val --out logits.safetensors");
  command->callback([&run, options] {
    run = [options] {
      if (options->data.empty() && options->images.empty())
        throw UsageError("run needs image files, or --data DATA --out FILE");
      options->images.empty() ? run_data(*options) : run_images(*options);
    };
  });
}

}  // namespace elek::cli
