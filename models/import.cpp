// SPDX-License-Identifier: Apache-2.0
#include "models/import.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "models/config_beside.h"
#include "models/load_values.h"
#include "models/model_file.h"
#include "models/readings.h"
#include "models/structure.h"
#include "models/text.h"

namespace elek {

using detail::Beside;
using detail::Block;
using detail::Structure;

namespace {

void check_preprocessing(const Preprocessing& preprocessing, int64_t channels) {
  for (const auto* values : {&preprocessing.mean, &preprocessing.stddev}) {
    if (std::ssize(*values) != channels) {
      throw UsageError("mean and std have " + std::to_string(values->size()) + " values, but the network's input has " +
                       std::to_string(channels) + " channels");
    }
  }
}

void check_stem_and_shortcut(const WeightsOptions& options, const Structure& structure, const std::string& where) {
  if (options.stem && *options.stem != detail::stem_kind(structure)) {
    throw InputError(where + ": expected the stem of " +
                     (*options.stem == Stem::kCifar ? "CIFAR's networks, 3x3" : "ImageNet's networks, 7x7 or three 3x3") +
                     ", found " + structure.stem.front().conv.text());
  }
  if (!options.shortcut) return;
  bool projects = false;
  for (const std::vector<Block>& stage : structure.stages) {
    projects =
        projects || std::any_of(stage.begin(), stage.end(), [](const Block& block) { return block.projection.has_value(); });
  }
  if (projects == (*options.shortcut == Shortcut::kA)) {
    throw InputError(
        where + ": expected shortcuts " +
        (projects ? "without projections (option A), found projections" : "with projections (option B), found none"));
  }
}

/// What the caller expects of the file.
void check_expectations(const WeightsOptions& options, const Structure& structure, const std::string& where) {
  if (options.family) {
    const ResNetSpec& family = *options.family;
    int64_t depth = 2;
    for (const int64_t blocks : family.blocks) depth += blocks * (family.bottleneck ? 3 : 2);
    const Block& first = structure.stages.front().front();
    const int64_t groups = first.is_bottleneck() ? first.branch[1].groups : 1;
    if (depth != structure.depth() || groups != family.groups) {
      std::string blocks;
      for (const std::vector<Block>& stage : structure.stages)
        blocks += (blocks.empty() ? "" : ", ") + std::to_string(stage.size());
      throw InputError(where + ": expected " + family.name + ", found " + architecture_name(structure) + ": " + blocks +
                       (first.is_bottleneck() ? " bottlenecks" : " basic blocks") +
                       (groups > 1 ? " of " + std::to_string(groups) + " groups" : "") +
                       "; is this the file of another architecture?");
    }
  }
  if (options.input && options.input->channels != structure.input_channels()) {
    throw UsageError("an input of " + std::to_string(options.input->channels) + " channels was asked for, but " + where +
                     " has " + std::to_string(structure.input_channels()) + " (" + structure.stem.front().conv.text() + ")");
  }
}

std::string some_of(const std::vector<std::string>& names) {
  constexpr size_t kMost = 5;
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kMost); ++i) text += (i > 0 ? ", " : "") + detail::in_quotes(names[i]);
  return names.size() > kMost ? text + " and " + std::to_string(names.size() - kMost) + " more" : text;
}

void add_notes(Import& made, const WeightsFile& file, const Structure& structure, const detail::FileLayers& layers,
               const Beside& beside) {
  made.notes = file.notes();
  made.notes.insert(made.notes.end(), beside.notes.begin(), beside.notes.end());
  std::vector<std::string> ignored = layers.extras;
  ignored.insert(ignored.end(), structure.outside.begin(), structure.outside.end());
  if (!ignored.empty()) made.notes.push_back("ignored, because it is no part of the network: " + some_of(ignored));
  if (!structure.head) {
    made.notes.push_back("there is no classifier in the file: the network's output is its " +
                         std::to_string(structure.features()) + " features");
  } else if (structure.head->path != "fc") {
    made.notes.push_back("the classifier is " + structure.head->text());
  }
}

HistoryEntry history_entry(const std::string& where, const std::string& hash, const std::vector<Taken>& taken) {
  HistoryEntry entry;
  entry.action = "prepare";
  entry.target = std::filesystem::path(where).filename().string();
  entry.source_hash = hash;
  for (const Taken& each : taken) {
    entry.assumptions.push_back({std::string(name_of(each.what)), each.value, each.source});
  }
  return entry;
}

/// The same graph for images of another size.
Graph with_input(const Graph& graph, const ImageShape& input) {
  Graph made;
  for (const Node& node : graph.nodes())
    made.add(node.name, node.is<InputAttrs>() ? Attrs{InputAttrs{input}} : node.attrs, node.inputs);
  made.set_output(graph.output());
  return made;
}

}  // namespace

std::string_view name_of(Unseen what) {
  switch (what) {
    case Unseen::kInputSize:
      return "input size";
    case Unseen::kPixels:
      return "mean and std";
    case Unseen::kStem:
      return "stem";
    case Unseen::kShortcut:
      return "shortcut";
    case Unseen::kProjection:
      return "projection";
    case Unseen::kStride:
      return "stride on";
    case Unseen::kStages:
      return "strides of the stages";
    case Unseen::kEpsilon:
      return "epsilon of batch norm";
    case Unseen::kGate:
      return "squeeze-and-excitation";
    case Unseen::kOrder:
      return "order";
  }
  ELEK_CHECK(false, "an answer without a name");
  return "";
}

std::string hash_of_file(const std::string& path) {
  constexpr size_t kChunk = size_t{1} << 20;
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return "";
  std::ifstream file(path, std::ios::binary);
  std::vector<char> chunk(kChunk);
  uint64_t value = kHashSeed;
  while (file.read(chunk.data(), static_cast<std::streamsize>(kChunk)) || file.gcount() > 0) {
    throw_if_interrupted();
    value = hash_bytes(chunk.data(), static_cast<size_t>(file.gcount()), value);
  }
  if (file.bad() || !file.eof()) throw InputError(path + ": could not be read to its end");
  return to_hex(value);
}

Import import_weights(const WeightsFile& file, const WeightsOptions& options, MemoryResource& resource) {
  const std::string& where = file.where();
  std::vector<detail::FileTensor> tensors;
  tensors.reserve(file.entries().size());
  for (const WeightsFile::Entry& entry : file.entries()) tensors.push_back({entry.name, entry.dtype, entry.shape, entry.name});
  detail::rename_tensors(tensors, options.renames, where);
  const detail::FileLayers layers = detail::layers_of(tensors, where);
  const Structure structure = detail::find_structure(layers, options.head, where);
  check_expectations(options, structure, where);
  check_stem_and_shortcut(options, structure, where);
  Beside beside = detail::read_beside(where);
  detail::read_metadata(file.metadata(), beside);

  detail::Answers answers = detail::answer(structure, options, beside);
  detail::Network network = detail::build_network(structure, answers.reading, where);
  Import made;
  made.model.architecture = detail::architecture_name(structure);
  made.model.preprocessing = std::move(answers.preprocessing);
  check_preprocessing(made.model.preprocessing, structure.input_channels());
  made.model.parameters = detail::load_values(file, network.graph, network.values, resource);
  made.model.graph = std::move(network.graph);
  if (std::ssize(beside.labels) == structure.outputs() && structure.head) made.model.labels = beside.labels;
  validate(made.model, where);
  made.taken = std::move(answers.taken);
  add_notes(made, file, structure, layers, beside);
  made.model.history.push_back(history_entry(where, hash_of_file(where), made.taken));
  return made;
}

Import import_model(const SafetensorsFile& file, const WeightsOptions& options, MemoryResource& resource) {
  Import made;
  made.model = load_model(file, resource);
  Model& model = made.model;
  std::string input_from = "the model file itself";
  std::string pixels_from = input_from;
  if (options.input) {
    if (options.input->channels != model.graph.input_shape().channels) {
      throw UsageError("an input of " + std::to_string(options.input->channels) + " channels was asked for, but " +
                       file.where() + " has " + std::to_string(model.graph.input_shape().channels));
    }
    model.graph = with_input(model.graph, *options.input);
    input_from = Taken::kGiven;
  }
  if (options.preprocessing) {
    check_preprocessing(*options.preprocessing, model.graph.input_shape().channels);
    model.preprocessing = *options.preprocessing;
    pixels_from = Taken::kGiven;
  }
  made.taken.push_back({Unseen::kInputSize, to_string(model.graph.input_shape()), input_from});
  made.taken.push_back({Unseen::kPixels, detail::text_of(model.preprocessing), pixels_from});
  made.notes.emplace_back("this is a model of elek; its network, labels and history are kept");
  model.history.push_back(history_entry(file.where(), hash_of_file(file.where()), made.taken));
  return made;
}

}  // namespace elek
