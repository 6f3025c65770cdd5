// SPDX-License-Identifier: Apache-2.0
// elek convert: writes a model for other runtimes.
#include <filesystem>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/info.h"
#include "cli/paths.h"
#include "core/error.h"
#include "elek/model.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct ConvertOptions {
  Common common;
  std::string model;
  std::string out;
  int64_t batch = 0;
  int64_t operator_set = kUsualOnnxSet;
};

void convert(const ConvertOptions& options) {
  if (!options.out.ends_with(".onnx")) {
    throw UsageError("--out " + options.out + ": expected a name that ends in .onnx, the only format that elek converts to");
  }
  if (options.common.precision != "f32") {
    throw UsageError("--precision " + options.common.precision + ": an ONNX file is written in f32; leave the option out");
  }
  Context context(options.common);
  Paths().reads("--model", options.model).writes("--out", options.out).check();
  const Model model = load_model(options.model, context.memory());
  save_onnx(model, options.out, options.batch, options.operator_set);
  const Node& input = model.graph.nodes().front();
  const Node& output = model.graph.node(model.graph.output());
  const size_t file_bytes = std::filesystem::file_size(options.out);
  const std::string batch = options.batch > 0 ? std::to_string(options.batch) : "any number";
  const Output& out = context.output();
  out.result(options.out + ": " + readable_bytes(file_bytes) + ", operator set " + std::to_string(options.operator_set) + "\n");
  out.result("input '" + input.name + "': " + to_string(input.shape) + " f32, " + batch + " per run; " +
             preprocessing_text(model.preprocessing) + "\n");
  out.result("output '" + output.name + "': " + std::to_string(output.shape.elements()) + " values per image\n");
  out.json({{"command", "convert"},
            {"model", options.model},
            {"out", options.out},
            {"file_bytes", file_bytes},
            {"input", input.name},
            {"output", output.name},
            {"operator_set", options.operator_set},
            {"batch", options.batch > 0 ? Json(options.batch) : Json()},
            {"mean", model.preprocessing.mean},
            {"std", model.preprocessing.stddev}});
}

}  // namespace

void add_convert(CLI::App& app, Run& run) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "Write a model as ONNX, for ONNX Runtime, TensorRT, OpenVINO and others");
  command->add_option("--model", options->model, "Model file")->required();
  command->add_option("--out", options->out, "File to write, .onnx")->required();
  command->add_option("--batch", options->batch, "Fixed number of images per run; 0 = any number")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  command->add_option("--opset", options->operator_set, "ONNX operator set; a newer one does not make the file better")
      ->check(CLI::Range(kOldestOnnxSet, kNewestOnnxSet))
      ->capture_default_str();
  add_common(*command, options->common);
  command->footer(
      "The network expects f32 pixels that are already normalised. The formula is printed, and is in the file's metadata.\n"
      "Examples:\n"
      "  elek convert --model small.safetensors --out small.onnx\n"
      "  elek convert --model small.safetensors --batch 1 --out small.onnx && trtexec --onnx=small.onnx --fp16");
  command->callback([&run, options] { run = [options] { convert(*options); }; });
}

}  // namespace elek::cli
