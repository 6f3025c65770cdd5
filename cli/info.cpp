// SPDX-License-Identifier: Apache-2.0
// elek info: the contents of a model file: layers, shapes, parameters, MACs, bytes, preprocessing, labels and history.
#include "cli/info.h"

#include <filesystem>
#include <map>

#include "cli/commands.h"
#include "cli/context.h"
#include "core/runtime.h"
#include "models/model_file.h"

namespace elek::cli {
namespace {

struct InfoOptions {
  Common common;
  std::string model;
  bool all = false;
  bool groups = false;
  bool history = false;
};

std::string kernel_of(const Node& node) {
  if (const auto* conv = std::get_if<Conv2dAttrs>(&node.attrs)) {
    std::string text = std::to_string(conv->kernel.height) + "x" + std::to_string(conv->kernel.width);
    if (conv->stride != Extent(1)) text += " /" + to_string(conv->stride);
    if (conv->dilation != Extent(1)) text += " d" + to_string(conv->dilation);
    if (conv->groups > 1) text += " g" + std::to_string(conv->groups);
    return text;
  }
  return "";
}

std::string joined(const std::vector<float>& values) {
  std::string text;
  for (const float value : values) text += (text.empty() ? "" : " ") + decimal(value, 4);
  return text;
}

void print_layers(const Output& out, const Table& table, const std::string& path, const Model& model) {
  const size_t file_bytes = std::filesystem::file_size(path);
  out.result(table.text());
  out.result("\n" + model.architecture + ", " + readable_bytes(file_bytes) + " on disk, " +
             percent(1 - static_cast<double>(nonzero_parameter_count(model)) / static_cast<double>(parameter_count(model))) +
             " of the parameters are zero, hash " + to_hex(hash(model)) + "\n");
  out.result("preprocessing: " + preprocessing_text(model.preprocessing) + "\n");
  out.result("images of another size than the input: shorter side to the input's / 0.875, bilinear; the centre is cut out\n");
  for (const HistoryEntry& entry : model.history) out.result("history: " + history_line(entry) + "\n");
}

void info(const InfoOptions& options) {
  Context context(options.common);
  const Model model = load_model(options.model, context.memory());
  std::map<std::string, int64_t> parameters;  // node -> elements, running statistics included
  for (const ParameterSpec& spec : required_parameters(model.graph)) {
    parameters[spec.name.substr(0, spec.name.rfind('.'))] += spec.shape.elements();
  }
  Table table({"layer", "op", "kernel", "output", "parameters", "MACs"});
  Json layers = Json::array();
  for (const Node& node : model.graph.nodes()) {
    const int64_t count = parameters.contains(node.name) ? parameters.at(node.name) : 0;
    const int64_t work = macs(model.graph, node);
    layers.push_back({{"name", node.name},
                      {"op", op_name(node)},
                      {"output", {node.shape.channels, node.shape.height, node.shape.width}},
                      {"parameters", count},
                      {"macs", work}});
    if (options.all || work > 0 || node.is<InputAttrs>()) {
      table.add({node.name, std::string(op_name(node)), kernel_of(node), to_string(node.shape),
                 count > 0 ? with_commas(count) : "", work > 0 ? with_commas(work) : ""});
    }
  }
  table.add_rule();
  table.add({"total", "", "", "", with_commas(parameter_count(model)), with_commas(macs(model.graph))});
  const Output& out = context.output();
  if (options.groups) out.result(groups_text(model.graph));
  if (options.history) out.result((options.groups ? "\n" : "") + history_text(model.history));
  if (options.all && (options.groups || options.history)) out.result("\n");
  if (options.all || (!options.groups && !options.history)) print_layers(out, table, options.model, model);
  out.json({{"command", "info"},
            {"model", options.model},
            {"architecture", model.architecture},
            {"hash", to_hex(hash(model))},
            {"parameters", parameter_count(model)},
            {"nonzero_parameters", nonzero_parameter_count(model)},
            {"parameter_bytes", parameter_bytes(model)},
            {"macs", macs(model.graph)},
            {"file_bytes", std::filesystem::file_size(options.model)},
            {"mean", model.preprocessing.mean},
            {"std", model.preprocessing.stddev},
            {"labels", model.labels},
            {"layers", layers},
            {"groups", groups_json(model.graph)},
            {"history", history_json(model.history)}});
}

}  // namespace

std::string preprocessing_text(const Preprocessing& preprocessing) {
  return "(pixel / 255 - mean) / std, mean " + joined(preprocessing.mean) + ", std " + joined(preprocessing.stddev);
}

void add_info(CLI::App& app, Run& run) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command = app.add_subcommand("info", "Show layers, shapes, parameters, MACs, bytes and history of a model");
  command->add_option("--model", options->model, "Model file")->required();
  command->add_flag("--all", options->all, "Show batch norm, ReLU, sums and pools too");
  command->add_flag("--groups", options->groups,
                    "Show the groups instead: channels that are cut together, and the layers that make and read them");
  command->add_flag("--history", options->history, "Show the history instead: what was cut, scores, data, repair");
  add_common(*command, options->common);
  command->footer(
      "Examples:\n"
      "  elek info --model net.safetensors\n"
      "  elek info --model net.safetensors --groups\n"
      "  elek info --model small.safetensors --history\n"
      "  elek info --model net.safetensors --json");
  command->callback([&run, options] { run = [options] { info(*options); }; });
}

}  // namespace elek::cli
