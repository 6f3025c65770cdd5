// SPDX-License-Identifier: Apache-2.0
#include "models/import.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/runtime.h"
#include "models/config_beside.h"
#include "models/load_values.h"
#include "models/model_file.h"
#include "models/structure.h"
#include "models/text.h"

namespace elek {

using detail::Beside;
using detail::Block;
using detail::Reading;
using detail::Structure;

namespace {

constexpr double kEpsilon = 1e-5;       // PyTorch's
constexpr int64_t kImageNetSide = 224;  // of stems that make the image smaller
constexpr int64_t kCifarSide = 32;

std::string text_of(const std::vector<float>& values) {
  std::ostringstream text;
  for (size_t i = 0; i < values.size(); ++i) text << (i > 0 ? "," : "") << values[i];
  return text.str();
}

std::string text_of(double value) {
  std::ostringstream text;
  text << value;
  return text.str();
}

std::string text_of(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t value : values) text += (text.empty() ? "" : ",") + std::to_string(value);
  return text;
}

/// A 7x7 window and a deep stem belong to ImageNet's networks: stride 2 and a max pool. A 3x3 window belongs to CIFAR's.
Stem stem_of(const Structure& structure) {
  constexpr int64_t kLargeWindow = 7;
  const bool large = structure.stem.size() > 1 || structure.stem.front().conv.kernel() >= kLargeWindow;
  return large ? Stem::kImageNet : Stem::kCifar;
}

/// Decides what the file does not show, and keeps account of where each answer is from.
class Decisions {
 public:
  Decisions(const Structure& structure, const WeightsOptions& options, const Beside& beside)
      : structure_(structure), options_(options), beside_(beside) {}

  Reading reading() {
    Reading made;
    stem(made);
    stages(made);
    shortcuts(made);
    made.epsilon = options_.epsilon.value_or(kEpsilon);
    if (has_norms()) take(Unseen::kEpsilon, text_of(made.epsilon), options_.epsilon ? Taken::kGiven : Taken::kAssumed);
    made.input = input(made.stem_stride);
    for (const std::string& guess : structure_.guessed) take(Unseen::kOrder, guess, Taken::kAssumed);
    return made;
  }

  Preprocessing preprocessing(int64_t channels) {
    Preprocessing made = default_preprocessing(channels);
    std::string source = Taken::kAssumed;
    if (options_.preprocessing) {
      made = *options_.preprocessing;
      source = Taken::kGiven;
    } else if (beside_.preprocessing && std::ssize(beside_.preprocessing->mean) == channels) {
      made = *beside_.preprocessing;
      source = beside_.preprocessing_from;
    }
    const bool imagenet = source == Taken::kAssumed && channels == 3;
    take(Unseen::kPixels, "mean " + text_of(made.mean) + ", std " + text_of(made.stddev) + (imagenet ? " (ImageNet's)" : ""),
         source);
    return made;
  }

  [[nodiscard]] std::vector<Taken> taken() && { return std::move(taken_); }

 private:
  void take(Unseen what, std::string value, std::string source) {
    taken_.push_back({what, std::move(value), std::move(source)});
  }

  [[nodiscard]] bool has_norms() const {
    return structure_.stem.front().norm || structure_.stages.front().front().branch.front().norm;
  }

  template <typename Holds>
  [[nodiscard]] bool any_block(const Holds& holds) const {
    return std::any_of(structure_.stages.begin(), structure_.stages.end(),
                       [&](const std::vector<Block>& stage) { return std::any_of(stage.begin(), stage.end(), holds); });
  }

  void stem(Reading& made) {
    const bool deep = structure_.stem.size() > 1;
    const std::string kernel = std::to_string(structure_.stem.front().conv.kernel());
    const bool large = stem_of(structure_) == Stem::kImageNet;
    made.stem_stride = options_.stem_stride.value_or(large ? 2 : 1);
    made.max_pool = options_.max_pool.value_or(large);
    const bool given = options_.stem || (options_.stem_stride && options_.max_pool);
    take(Unseen::kStem,
         kernel + "x" + kernel + " with stride " + std::to_string(made.stem_stride) + (deep ? ", two more 3x3" : "") +
             (made.max_pool ? ", then a 3x3 max pool with stride 2" : ", no max pool"),
         given ? Taken::kGiven : Taken::kAssumed);
  }

  void stages(Reading& made) {
    const size_t count = structure_.stages.size();
    if (!options_.strides.empty() && options_.strides.size() != count) {
      throw UsageError("strides for " + std::to_string(options_.strides.size()) + " stages were given, but the network has " +
                       std::to_string(count));
    }
    made.strides.assign(count, 2);
    made.strides[0] = beside_.stride_in_first_stage.value_or(false) ? 2 : 1;
    std::string source = beside_.stride_in_first_stage ? beside_.config_name : Taken::kAssumed;
    if (!options_.strides.empty()) {
      made.strides = options_.strides;
      source = Taken::kGiven;
    }
    take(Unseen::kStages, text_of(made.strides) + ", no dilation", source);
  }

  void shortcuts(Reading& made) {
    if (structure_.has_option_a()) {
      made.zeros_behind = options_.zeros_behind.value_or(false);
      take(Unseen::kShortcut,
           std::string("option A (no projections in the file), its zero channels ") +
               (made.zeros_behind ? "behind" : "on both sides"),
           options_.zeros_behind ? Taken::kGiven : Taken::kAssumed);
    }
    if (any_block([](const Block& block) { return block.pooled_projection; })) {
      take(Unseen::kProjection,
           "an average pool before the projections (ResNet-D), because index 0 of their lists has no weights", Taken::kAssumed);
    }
    if (any_block([](const Block& block) { return block.is_bottleneck(); })) {
      made.stride_on_first = options_.stride_on_first.value_or(beside_.stride_on_first.value_or(false));
      const std::string source = beside_.stride_on_first ? beside_.config_name : Taken::kAssumed;
      take(Unseen::kStride, made.stride_on_first ? "the first 1x1 of a bottleneck" : "the 3x3 of a bottleneck (as torchvision)",
           options_.stride_on_first ? Taken::kGiven : source);
    }
    if (any_block([](const Block& block) { return block.squeeze.has_value(); })) {
      take(Unseen::kGate, "ReLU, then a sigmoid gate", Taken::kAssumed);
    }
  }

  ImageShape input(int64_t stem_stride) {
    const int64_t channels = structure_.input_channels();
    const bool known = beside_.height && beside_.width && beside_.channels.value_or(channels) == channels;
    const int64_t side = stem_stride > 1 ? kImageNetSide : kCifarSide;
    ImageShape made{channels, known ? *beside_.height : side, known ? *beside_.width : side};
    std::string source = known ? beside_.input_from : Taken::kAssumed;
    if (options_.input) {
      made = *options_.input;
      source = Taken::kGiven;
    }
    take(Unseen::kInputSize, to_string(made), source);
    return made;
  }

  const Structure& structure_;
  const WeightsOptions& options_;
  const Beside& beside_;
  std::vector<Taken> taken_;
};

void check_preprocessing(const Preprocessing& preprocessing, int64_t channels) {
  for (const auto* values : {&preprocessing.mean, &preprocessing.stddev}) {
    if (std::ssize(*values) != channels) {
      throw UsageError("mean and std have " + std::to_string(values->size()) + " values, but the network's input has " +
                       std::to_string(channels) + " channels");
    }
  }
}

void check_stem_and_shortcut(const WeightsOptions& options, const Structure& structure, const std::string& where) {
  if (options.stem && *options.stem != stem_of(structure)) {
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
  std::ifstream file(path, std::ios::binary);
  if (!file) return "";
  std::vector<char> chunk(kChunk);
  uint64_t value = kHashSeed;
  while (file.read(chunk.data(), static_cast<std::streamsize>(kChunk)) || file.gcount() > 0) {
    throw_if_interrupted();
    value = hash_bytes(chunk.data(), static_cast<size_t>(file.gcount()), value);
  }
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
  const Beside beside = detail::read_beside(where);

  Decisions decisions(structure, options, beside);
  const Reading reading = decisions.reading();
  detail::Network network = detail::build_network(structure, reading, where);
  Import made;
  made.model.architecture = detail::architecture_name(structure);
  made.model.preprocessing = decisions.preprocessing(structure.input_channels());
  check_preprocessing(made.model.preprocessing, structure.input_channels());
  made.model.parameters = detail::load_values(file, network.graph, network.values, resource);
  made.model.graph = std::move(network.graph);
  if (std::ssize(beside.labels) == structure.outputs() && structure.head) made.model.labels = beside.labels;
  validate(made.model, where);
  made.taken = std::move(decisions).taken();
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
  made.taken.push_back({Unseen::kPixels,
                        "mean " + text_of(model.preprocessing.mean) + ", std " + text_of(model.preprocessing.stddev),
                        pixels_from});
  made.notes.emplace_back("this is a model of elek; its network, labels and history are kept");
  model.history.push_back(history_entry(file.where(), hash_of_file(file.where()), made.taken));
  return made;
}

}  // namespace elek
