// SPDX-License-Identifier: Apache-2.0
// Model files. Files that have weights only: models/import.h.
#include "models/model_file.h"

#include <algorithm>
#include <map>
#include <vector>

#include "core/error.h"
#include "core/hint.h"
#include "graph/integer_values.h"
#include "models/load_values.h"
#include "models/sniff.h"
#include "models/text.h"

namespace elek {

using detail::in_quotes;
using detail::shape_text;

namespace {

constexpr const char* kKey = "elek";
constexpr const char* kScaleSuffix = ".weight_scale";

/// Reads the scales of the quantised layers. Returns the name of each layer's tensor.
std::map<std::string, std::string> read_scales(const WeightsFile& file, const Graph& graph, Quantization& quantization) {
  std::map<std::string, std::string> names;
  for (auto& [layer, scales] : quantization.layers) {
    const ValueId node = graph.find(layer);
    if (node < 0 || !graph.node(node).is<Conv2dAttrs>()) {
      throw InputError(file.where() + ": quantised layer " + in_quotes(layer) +
                       ": the network has no convolution of this name; the file is damaged");
    }
    const std::string name = layer + kScaleSuffix;
    const WeightsFile::Entry* const entry = file.find(name);
    const int64_t rows = graph.node(node).shape.channels;
    if (entry == nullptr || entry->elements() != rows || !entry->is_floating()) {
      throw InputError(file.where() + ": tensor " + in_quotes(name) + ": expected " + std::to_string(rows) +
                       " floating-point scales, found " +
                       (entry == nullptr ? "nothing" : entry->dtype + " " + shape_text(entry->shape)) +
                       "; the file is damaged");
    }
    scales.resize(static_cast<size_t>(rows));
    file.read(*entry, scales);
    names.emplace(layer, name);
  }
  return names;
}

Parameters weights_of(const WeightsFile& file, const Graph& graph, MemoryResource& resource, Quantization* quantization,
                      detail::Loading loading) {
  std::map<std::string, detail::Values> values;
  std::map<std::string, std::string> scales;  // of each quantised layer: the tensor with them
  if (quantization != nullptr) scales = read_scales(file, graph, *quantization);
  for (const ParameterSpec& spec : required_parameters(graph)) {
    const WeightsFile::Entry* const entry = file.find(spec.name);
    if (entry == nullptr) {
      throw InputError(file.where() + ": tensor " + in_quotes(spec.name) + " " + to_string(spec.shape) +
                       " is missing; the file is damaged");
    }
    const std::span<const int64_t> dims = spec.shape.dims();
    if (!std::equal(dims.begin(), dims.end(), entry->shape.begin(), entry->shape.end())) {
      throw InputError(file.where() + ": tensor " + in_quotes(entry->name) + ": expected shape " + to_string(spec.shape) +
                       ", found " + shape_text(entry->shape) + "; the file is damaged");
    }
    values[spec.name] = {{spec.name, ""}, {}, 0};
  }
  for (const auto& [layer, tensor] : scales) values.at(layer + ".weight").scales = tensor;
  for (const WeightsFile::Entry& entry : file.entries()) {
    if (values.contains(entry.name)) continue;
    const bool known = std::any_of(scales.begin(), scales.end(), [&](const auto& each) { return each.second == entry.name; });
    if (known) continue;
    throw InputError(file.where() + ": tensor " + in_quotes(entry.name) + " " + shape_text(entry.shape) +
                     " has no place in the network (" + std::to_string(file.entries().size() - values.size() - scales.size()) +
                     " such); the file is damaged");
  }
  return detail::load_values(file, graph, values, resource, loading);
}

Model model_of(const SafetensorsFile& file, MemoryResource& resource, detail::Loading loading) {
  const auto json = file.metadata().find(kKey);
  if (json == file.metadata().end()) {
    throw Hinted<InputError>(Hint::kImportWeights,
                             file.where() + ": expected a model file of elek, found plain " +
                                 (file.metadata().contains("elek.statistics") ? "statistics" : "weights") +
                                 " (no \"elek\" in its metadata)");
  }
  Model model = model_from_json(json->second, file.where());
  model.parameters = weights_of(WeightsFile(file), model.graph, resource, &model.quantization, loading);
  validate(model, file.where());
  return model;
}

}  // namespace

Parameters load_weights(const WeightsFile& file, const Graph& graph, MemoryResource& resource, Quantization* quantization) {
  return weights_of(file, graph, resource, quantization, detail::Loading::kCopy);
}

Model load_model(const std::string& path, MemoryResource& resource) {
  const MappedFile file = MappedFile::open(path);
  switch (const FileKind kind = kind_of(file.bytes())) {
    case FileKind::kZip:
    case FileKind::kPickle:
    case FileKind::kTar:
    case FileKind::kOnnx:
      throw Hinted<InputError>(Hint::kImportWeights, path + ": expected a model file of elek, found " + description_of(kind));
    default:
      return load_model(SafetensorsFile::parse(file), resource);
  }
}

Model load_model(const SafetensorsFile& file, MemoryResource& resource) {
  return model_of(file, resource, detail::Loading::kCopy);
}

Model model_in_place(const SafetensorsFile& file, MemoryResource& resource) {
  return model_of(file, resource, detail::Loading::kInPlace);
}

namespace {

/// The arrays and the metadata of the model's file. The arrays are the model's, except quantised ones, which are here.
struct Contents {
  explicit Contents(const Model& model, std::string json);
  std::map<std::string, std::vector<int8_t>> quantised;  // by the weight's name
  std::vector<SafetensorsEntry> entries;
  std::map<std::string, std::string> metadata;
};

Contents::Contents(const Model& model, std::string json)
    : metadata{{kKey, std::move(json)}, {"format", "pt"}} {  // "format": Python's loaders check it before they trust the names
  entries.reserve(model.parameters.size());
  for (const auto& [layer, scales] : model.quantization.layers) {
    const std::span<const float> weights = model.parameter(layer + ".weight").f32();
    std::vector<int8_t>& integers = quantised[layer + ".weight"];
    integers.resize(weights.size());
    to_integers(layer, weights, scales, integers);
    entries.push_back({layer + kScaleSuffix, DType::kF32, {std::ssize(scales)}, std::as_bytes(std::span(scales))});
  }
  for (const auto& [name, tensor] : model.parameters) {
    const std::span<const int64_t> dims = tensor->shape().dims();
    const auto integers = quantised.find(name);
    if (integers != quantised.end()) {
      entries.push_back(
          {name, DType::kI8, {dims.begin(), dims.end()}, std::as_bytes(std::span<const int8_t>(integers->second))});
      continue;
    }
    entries.push_back(
        {name, tensor->dtype(), {dims.begin(), dims.end()}, {static_cast<const std::byte*>(tensor->data()), tensor->bytes()}});
  }
}

}  // namespace

void save_model(const Model& model, const std::string& path) {
  validate(model, path);
  const std::string json = model_to_json(model);
  static_cast<void>(model_from_json(json, path));  // do not write a model that load_model would refuse
  const Contents contents(model, json);
  write_safetensors(path, contents.entries, contents.metadata);
}

size_t model_file_bytes(const Model& model) {
  const Contents contents(model, model_to_json(model));
  return safetensors_bytes(contents.entries, contents.metadata);
}

}  // namespace elek
