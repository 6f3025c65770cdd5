// SPDX-License-Identifier: Apache-2.0
// elek convert: writes a model for other runtimes, or as C source for a program that contains it.
// Tests: tests/cli/convert_test.cpp, tests/api
#include <filesystem>

#include "cli/commands.h"
#include "cli/context.h"
#include "cli/info.h"
#include "cli/paths.h"
#include "core/error.h"
#include "core/file.h"
#include "elek/model.h"
#include "engine/estimate.h"
#include "models/c_array.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct ConvertOptions {
  Common common;
  std::string model;
  std::string out;
  int64_t batch = 0;
  int64_t operator_set = kUsualOnnxSet;
  bool names_set = false;  // --opset was given
};

/// A kernel of ours that multiplies: its name says which instruction set it uses.
std::string a_kernel(const Program& program) {
  for (const ProgramStep& step : program.steps) {
    if (step.weights_bytes > 0 && !step.kernel.starts_with("oneDNN")) return step.kernel;
  }
  return "oneDNN";
}

void convert_to_c(const ConvertOptions& options) {
  if (!options.common.device.empty() && options.common.device != "cpu") {
    throw UsageError("--device " + options.common.device + ": a C header is for a session in a block of memory, on the CPU");
  }
  if (options.names_set) throw UsageError("--opset is for ONNX; leave the option out, or give --out a name that ends in .onnx");
  CArray made;
  made.name = std::filesystem::path(options.out).stem().string();
  if (!is_c_identifier(made.name)) {
    throw UsageError("--out " + options.out + ": every name in the header begins with '" + made.name +
                     "', which C does not allow; use letters, digits and underscores, and no digit first");
  }
  Common common = options.common;
  common.device = "cpu";
  if (common.threads == 0) common.threads = 1;
  Context context(common);
  Paths().reads("--model", options.model).writes("--out", options.out).check();
  const Model model = load_model(options.model, context.memory());
  const std::vector<uint8_t> file = read_whole_file(options.model);
  const SessionOptions session = context.session_options(std::max<int64_t>(options.batch, 1));
  const SessionEstimate estimate = estimate_memory(model, session);
  made.source = std::filesystem::path(options.model).filename().string();
  made.file = std::as_bytes(std::span(file));
  made.input = model.graph.input_shape();
  made.classes = model.graph.node(model.graph.output()).shape.elements();
  made.batch = session.batch;
  made.threads = session.threads;
  made.precision = session.precision;
  made.deterministic = session.deterministic;
  made.block_bytes = block_bytes(estimate.memory, estimate.packing_bytes);
  made.kernels = a_kernel(estimate.program);
  save_c_array(made, options.out);
  context.output().result(options.out + ": " + made.name + "_file, " + readable_bytes(file.size()) + "; a session of batch " +
                          std::to_string(made.batch) + " with " + std::to_string(made.threads) + " thread" +
                          (made.threads == 1 ? "" : "s") + " needs a block of " + std::to_string(made.block_bytes) +
                          " bytes on a processor that runs '" + made.kernels + "'\n");
  context.output().json({{"command", "convert"},
                         {"model", options.model},
                         {"out", options.out},
                         {"file_bytes", file.size()},
                         {"batch", made.batch},
                         {"threads", made.threads},
                         {"block_bytes", made.block_bytes},
                         {"kernels", made.kernels}});
}

void convert_to_onnx(const ConvertOptions& options) {
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

void convert(const ConvertOptions& options) {
  if (options.out.ends_with(".onnx")) return convert_to_onnx(options);
  if (options.out.ends_with(".h")) return convert_to_c(options);
  throw UsageError("--out " + options.out + ": expected a name that ends in .onnx, or in .h for a C header");
}

}  // namespace

void add_convert(CLI::App& app, Run& run) {
  auto options = std::make_shared<ConvertOptions>();
  CLI::App* command = app.add_subcommand("convert", "Write a model as ONNX for other runtimes, or as a C header");
  command->add_option("--model", options->model, "Model file")->required();
  command
      ->add_option("--out", options->out, "File to write: .onnx, or .h for a C array with the size of the memory that it needs")
      ->required();
  command->add_option("--batch", options->batch, "Fixed number of images per run; 0 = any number, and 1 in a C header")
      ->check(CLI::Range(0, 65536))
      ->capture_default_str();
  auto* set =
      command->add_option("--opset", options->operator_set, "ONNX operator set; a newer one does not make the file better")
          ->check(CLI::Range(kOldestOnnxSet, kNewestOnnxSet))
          ->capture_default_str();
  add_common(*command, options->common);
  command->footer(
      "In ONNX the network expects f32 pixels that are already normalised. The formula is printed, and is in the file's\n"
      "metadata. A C header is for one session: --batch, --threads (default 1), --precision and --deterministic are its\n"
      "options.\n"
      "Examples:\n"
      "  elek convert --model small.safetensors --out small.onnx\n"
      "  elek convert --model small.safetensors --batch 1 --out small.onnx && trtexec --onnx=small.onnx --fp16\n"
      "  elek convert --model small.safetensors --out small.h");
  command->callback([&run, options, set] {
    options->names_set = set->count() > 0;
    run = [options] { convert(*options); };
  });
}

}  // namespace elek::cli
