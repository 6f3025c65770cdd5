// SPDX-License-Identifier: Apache-2.0
// The way through an ONNX file: choose the output, find the nodes that it needs, translate them in order, finish the network.
// Tests: tests/models/onnx_import_test.cpp
#include "models/onnx/importer.h"

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <utility>

#include "core/error.h"
#include "core/hint.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "models/onnx/patterns.h"
#include "models/text.h"

namespace elek::onnx {

using detail::in_quotes;

const std::map<std::string_view, Importer::Translate>& Importer::table() {
  static const std::map<std::string_view, Translate> made = {
      {"Conv", &Importer::conv},
      {"Gemm", &Importer::gemm},
      {"MatMul", &Importer::matmul},
      {"BatchNormalization", &Importer::batch_norm},
      {"MaxPool", &Importer::max_pool},
      {"AveragePool", &Importer::average_pool},
      {"GlobalAveragePool", &Importer::global_average_pool},
      {"GlobalMaxPool", &Importer::global_max_pool},
      {"ReduceMean", &Importer::reduce_mean},
      {"Pad", &Importer::pad},
      {"Relu", &Importer::relu},
      {"Clip", &Importer::clip},
      {"LeakyRelu", &Importer::leaky_relu},
      {"PRelu", &Importer::prelu},
      {"Sigmoid", &Importer::sigmoid},
      {"HardSigmoid", &Importer::hard_sigmoid},
      {"HardSwish", &Importer::hard_swish},
      {kSilu, &Importer::silu},
      {"Swish", &Importer::silu},
      {"Add", &Importer::add},
      {"Sum", &Importer::sum},
      {"Sub", &Importer::subtract},
      {"Mul", &Importer::multiply},
      {"Div", &Importer::divide},
      {"Max", &Importer::max_or_min},
      {"Min", &Importer::max_or_min},
      {"Softmax", &Importer::last_softmax},
      {"LogSoftmax", &Importer::last_softmax},
      {"Identity", &Importer::identity},
      {"Dropout", &Importer::identity},
      {"Cast", &Importer::cast},
      {"Flatten", &Importer::flatten},
      {"Reshape", &Importer::reshape},
      {"Transpose", &Importer::transpose},
      {"Squeeze", &Importer::squeeze},
      {"Unsqueeze", &Importer::unsqueeze},
      {"Concat", &Importer::concat},
      {"Slice", &Importer::slice},
      {"Gather", &Importer::gather},
      {"Split", &Importer::split},
      {"Constant", &Importer::constant_node},
      {"ConstantOfShape", &Importer::constant_of_shape},
      {"Shape", &Importer::shape_of},
      {"Sqrt", &Importer::square_root},
      {"ReduceProd", &Importer::product},
      {"QuantizeLinear", &Importer::quantize},
      {"DequantizeLinear", &Importer::dequantize},
  };
  return made;
}

Importer::Importer(const FileProto& file, const ImportOptions& options, MemoryResource& resource)
    : file_(file), options_(options), tensors_(file), network_(file.where(), resource), nodes_(file.nodes) {
  std::map<std::string_view, const TensorProto*> constants;
  for (const auto& [name, tensor] : file.initialisers) constants[name] = &tensor;
  for (const NodeProto& node : file.nodes) {
    const Attribute* value = node.op == "Constant" ? node.find("value") : nullptr;
    if (value != nullptr && value->tensor && !node.outputs.empty()) constants[node.outputs.front()] = &*value->tensor;
  }
  replace_chains(nodes_, [&](const std::string& value) -> std::optional<float> {
    const auto found = constants.find(value);
    if (found == constants.end()) return std::nullopt;
    for (const int64_t dim : found->second->dims) {
      if (dim != 1) return std::nullopt;
    }
    const Constant constant = tensors_.open(*found->second);
    return constant.is_floating() ? std::optional(tensors_.read(constant).front()) : std::nullopt;
  });
}

void Importer::note(const std::string& text) {
  if (std::find(notes_.begin(), notes_.end(), text) == notes_.end()) notes_.push_back(text);
}

void Importer::choose_output() {
  if (file_.outputs.empty()) throw InputError(file_.where() + ": the network in it has no output");
  output_name_ = file_.outputs.front().name;
  if (file_.outputs.size() == 1) return;
  std::string others;
  for (size_t i = 1; i < file_.outputs.size(); ++i) others += (others.empty() ? "" : ", ") + in_quotes(file_.outputs[i].name);
  note("the file has " + std::to_string(file_.outputs.size()) + " outputs: the first, " + in_quotes(output_name_) +
       ", is assumed to be the logits; not computed: " + others);
}

void Importer::find_needed() {
  std::map<std::string_view, size_t> makers;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    for (const std::string& output : nodes_[i].outputs) {
      if (!output.empty() && !makers.emplace(output, i).second) {
        throw InputError(file_.where() + ": two nodes make the value " + in_quotes(output) + "; the file is damaged");
      }
    }
  }
  needed_.assign(nodes_.size(), false);
  std::vector<std::string_view> open{output_name_};
  while (!open.empty()) {
    const auto maker = makers.find(open.back());
    open.pop_back();
    if (maker == makers.end() || needed_[maker->second]) continue;
    needed_[maker->second] = true;
    for (const std::string& input : nodes_[maker->second].inputs) {
      readers_[input].push_back(maker->second);
      open.emplace_back(input);
    }
  }
  std::string found;
  for (const ValueProto& input : file_.inputs) {
    if (file_.initialisers.contains(input.name) || (!readers_.contains(input.name) && input.name != output_name_)) continue;
    if (!input_name_.empty()) found += (found.empty() ? in_quotes(input_name_) : "") + ", " + in_quotes(input.name);
    input_name_ = input_name_.empty() ? input.name : input_name_;
  }
  if (!found.empty()) throw InputError(file_.where() + ": elek runs networks with one input, an image; this one has " + found);
  if (input_name_.empty()) {
    throw InputError(file_.where() + ": the output " + in_quotes(output_name_) + " does not depend on an input");
  }
}

bool Importer::input_is_channels_last(const ValueProto& input) const {
  static const std::set<std::string_view> kElementwise = {
      "Cast", "Identity", "Add", "Sub", "Mul", "Div", "Pad", "QuantizeLinear", "DequantizeLinear"};
  std::set<std::string_view> same{input.name};
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const NodeProto& node = nodes_[i];
    const bool reads =
        std::any_of(node.inputs.begin(), node.inputs.end(), [&](const std::string& name) { return same.contains(name); });
    if (!needed_[i] || !reads) continue;
    if (node.op == "Transpose") return node.integers("perm", {}) == std::vector<int64_t>{0, 3, 1, 2};
    if (node.op == "Reshape") break;  // of one channel: a transpose in other words
    if (node.op == "Shape") continue;
    if (!kElementwise.contains(node.op) || node.outputs.empty()) return false;  // a convolution, for one, wants channels first
    same.insert(node.outputs.front());
  }
  constexpr int64_t kMostColours = 4;
  const auto& dims = *input.dims;
  return dims[3] && *dims[3] <= kMostColours && (!dims[1] || *dims[1] > kMostColours);
}

int64_t Importer::first_convolution_channels() const {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!needed_[i] || nodes_[i].op != "Conv" || nodes_[i].inputs.size() < 2) continue;
    const auto weight = file_.initialisers.find(nodes_[i].inputs[1]);
    if (weight != file_.initialisers.end() && weight->second.dims.size() == 4)
      return weight->second.dims[1] * nodes_[i].integer("group", 1);
    break;
  }
  return 0;
}

ImageShape Importer::input_shape(const ValueProto& input, bool channels_last) const {
  const auto& dims = *input.dims;
  if (dims.size() == 2) {
    if (!dims[1])
      throw InputError(file_.where() + ": input " + in_quotes(input.name) + " does not say how many features it has");
    return {*dims[1], 1, 1};
  }
  ImageShape shape{dims[channels_last ? 3 : 1].value_or(0), dims[channels_last ? 1 : 2].value_or(0),
                   dims[channels_last ? 2 : 3].value_or(0)};
  if (shape.channels == 0) shape.channels = first_convolution_channels();
  if (options_.input) {
    const ImageShape& asked = *options_.input;
    for (const auto& [found, wanted] :
         {std::pair{shape.channels, asked.channels}, {shape.height, asked.height}, {shape.width, asked.width}}) {
      if (found != 0 && found != wanted) {
        throw InputError(file_.where() + ": its input is " + to_string(shape) + " (0 = open), not " + to_string(asked));
      }
    }
    return asked;
  }
  if (shape.channels == 0 || shape.height == 0 || shape.width == 0) {
    throw Hinted<InputError>(Hint::kInputSize,
                             file_.where() + ": it leaves the size of its input open (" + to_string(shape) + ", 0 = open)");
  }
  return shape;
}

void Importer::add_input() {
  const auto input =
      std::find_if(file_.inputs.begin(), file_.inputs.end(), [&](const ValueProto& each) { return each.name == input_name_; });
  const size_t rank = input->dims ? input->dims->size() : 0;
  if (rank != 2 && rank != 4) {
    throw InputError(file_.where() + ": input " + in_quotes(input_name_) + " has " + std::to_string(rank) +
                     " dimensions, expected a batch of images (4) or of feature vectors (2)");
  }
  const bool channels_last = rank == 4 && input_is_channels_last(*input);
  const ImageShape shape = input_shape(*input, channels_last);
  constexpr int64_t kMostChannels = int64_t{1} << 20, kMostSide = 1 << 16;
  if (shape.channels > kMostChannels || shape.height > kMostSide || shape.width > kMostSide) {
    throw InputError(file_.where() + ": input " + in_quotes(input_name_) + " is too large: " + to_string(shape));
  }
  batch_ = input->dims->front();
  input_is_bytes_ = input->type == ElementType::kUint8;
  const ValueId value = network_.add(input_name_, InputAttrs{shape}, {});
  Axes axes = channels_last ? channels_last_axes(shape) : image_axes(shape);
  if (rank == 2) axes.resize(2);
  values_[input_name_] = Activation{value, std::move(axes), read_once(input_name_)};
}

void Importer::count_folded(const Value& value) {
  if (const auto* integers = std::get_if<Integers>(&value)) folded_bytes_ += integers->values.size() * sizeof(Integer);
  if (const auto* constant = std::get_if<Constant>(&value); constant != nullptr && constant->own)
    folded_bytes_ += constant->own->size();
  constexpr size_t kMostTimes = 16, kAlways = size_t{64} << 20;
  if (folded_bytes_ > kMostTimes * tensors_.file_bytes() + kAlways) {
    throw InputError(file_.where() + ": it computes with more constants than elek allows, " + std::to_string(folded_bytes_) +
                     " bytes");
  }
}

void Importer::translate(const NodeProto& node) {
  for (const std::string& name : node.inputs) {
    if (!name.empty() && !values_.contains(name) && !file_.initialisers.contains(name)) {
      throw InputError(file_.where() + ": node " + in_quotes(node.label()) + " reads " + in_quotes(name) +
                       ", which nothing before it makes: the nodes are in a cycle or out of order; the file is damaged");
    }
  }
  for (const std::string& name : node.outputs) values_[name] = Unknown{};
  const auto found = table().find(node.op);
  if (found == table().end()) {
    unsupported_.emplace_back(&node, "");
    return;
  }
  if (node.outputs.empty()) throw InputError(file_.where() + ": node " + in_quotes(node.label()) + " has no output");
  try {
    const Value made = (this->*found->second)(node);
    count_folded(made);
    values_[node.outputs.front()] = made;
  } catch (const Unsupported& reason) {
    unsupported_.emplace_back(&node, reason.why);
  } catch (const Skipped&) {
  }
}

void Importer::refuse_all() const {
  constexpr size_t kMostNames = 8, kMostReasons = 40;
  std::map<std::string, std::vector<std::string>> by_reason;  // operator and reason to nodes
  for (const auto& [node, why] : unsupported_) {
    by_reason[node->op + (why.empty() ? "" : " (" + why + ")")].push_back(in_quotes(node->label()));
  }
  std::string text;
  size_t reasons = 0;
  for (const auto& [reason, names] : by_reason) {
    if (++reasons > kMostReasons) break;
    text += (text.empty() ? " " : "; ") + reason + ":";
    for (size_t i = 0; i < std::min(names.size(), kMostNames); ++i) text += (i == 0 ? " " : ", ") + names[i];
    if (names.size() > kMostNames) text += " and " + std::to_string(names.size() - kMostNames) + " more";
  }
  if (by_reason.size() > kMostReasons) text += "; and " + std::to_string(by_reason.size() - kMostReasons) + " more kinds";
  throw InputError(file_.where() + ": elek does not have " + std::to_string(unsupported_.size()) +
                   (unsupported_.size() == 1 ? " node" : " nodes") + " of this network:" + text);
}

Preprocessing Importer::preprocessing(int64_t channels) {
  const auto listed = [&](const char* key) {
    std::vector<float> values;
    const auto found = file_.metadata.find(key);
    std::istringstream text(found == file_.metadata.end() ? "" : found->second);
    for (float value = 0; text >> value; text.ignore(1)) values.push_back(value);
    return values;
  };
  Preprocessing own{listed("elek.mean"), listed("elek.std")};
  const auto count = static_cast<size_t>(channels);
  const bool positive = std::all_of(own.stddev.begin(), own.stddev.end(), [](float each) { return each > 0; });
  if (own.mean.size() == count && own.stddev.size() == count && positive) return own;
  if (options_.preprocessing_is_given) return default_preprocessing(channels);
  if (input_affine_ || input_is_bytes_) {
    // x = pixel * scale + shift, or the same of pixel / 255: x = (pixel / 255 - mean) / std in both cases.
    const Affine change = input_affine_.value_or(Affine{std::vector<double>(count, 1.0), std::vector<double>(count, 0.0)});
    constexpr double kLargestOfBytes = 0.1;  // what divides 0 … 255 is below, what divides 0 … 1 is above
    const bool bytes = input_is_bytes_ || *std::max_element(change.scale.begin(), change.scale.end()) < kLargestOfBytes;
    Preprocessing made;
    for (size_t c = 0; c < count; ++c) {
      const double stddev = 1.0 / (change.scale[c] * (bytes ? 255.0 : 1.0));
      made.stddev.push_back(static_cast<float>(stddev));
      made.mean.push_back(static_cast<float>(-change.shift[c] * stddev));
    }
    note(std::string("mean and std are those of the network's first nodes; assumed: they expect pixels from 0 to ") +
         (bytes ? "255" : "1"));
    return made;
  }
  note("the file says no mean and no std: " + std::string(channels == 3 ? "ImageNet's" : "0.5 and 0.5") + " are assumed");
  return default_preprocessing(channels);
}

Imported Importer::run() {
  choose_output();
  find_needed();
  add_input();
  for (size_t i = 0; i < nodes_.size(); ++i) {
    throw_if_interrupted();
    if (needed_[i]) translate(nodes_[i]);
  }
  if (!unsupported_.empty()) refuse_all();
  const auto found = values_.find(output_name_);
  if (found == values_.end() || !std::holds_alternative<Activation>(found->second)) {
    throw InputError(file_.where() + ": no node computes the output " + in_quotes(output_name_) + " from the input");
  }
  const Activation logits = std::get<Activation>(found->second);
  const ImageShape shape = network_.shape(logits.value);
  if (shape.positions() != 1) {
    throw InputError(file_.where() + ": the output " + in_quotes(output_name_) + " is an image of " + to_string(shape) +
                     "; elek runs classifiers, whose output is one vector per image");
  }
  Imported made;
  made.model = network_.finish(logits.value);
  made.model.architecture = file_.producer == "elek" ? file_.graph_name : std::filesystem::path(file_.where()).stem().string();
  made.model.preprocessing = preprocessing(made.model.graph.input_shape().channels);
  if (const auto labels = file_.metadata.find("elek.labels"); labels != file_.metadata.end()) {
    std::istringstream lines(labels->second);
    for (std::string line; std::getline(lines, line);) made.model.labels.push_back(line);
    if (std::ssize(made.model.labels) != shape.channels) made.model.labels.clear();
  }
  validate(made.model, file_.where());
  made.notes = std::move(notes_);
  return made;
}

}  // namespace elek::onnx

namespace elek {

Imported import_onnx(const MappedFile& file, const ImportOptions& options, MemoryResource& resource) {
  const onnx::FileProto read = onnx::read_file(file);
  return onnx::Importer(read, options, resource).run();
}

Imported import_onnx(const std::string& path, const ImportOptions& options, MemoryResource& resource) {
  return import_onnx(MappedFile::open(path), options, resource);
}

}  // namespace elek
