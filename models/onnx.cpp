// SPDX-License-Identifier: Apache-2.0
// An ONNX file is one protobuf message. It has few fields, so no protobuf library is needed, and parameters are written to the
// file directly from their tensors. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <deque>
#include <initializer_list>
#include <iomanip>
#include <limits>
#include <set>
#include <span>
#include <sstream>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "core/error.h"
#include "core/file.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "models/protobuf.h"
#include "models/safetensors.h"
#include "models/text.h"

namespace elek {
namespace {

using detail::Message;

constexpr int64_t kAxesAreAnInput = 13;                             // operator set from which Unsqueeze reads its axes
constexpr size_t kMostBytes = std::numeric_limits<int32_t>::max();  // of a protobuf message

/// The file's layout has versions too. 6 is that of operator set 11, 7 that of 12 to 14; later layouts add nothing that is used
/// here, and old runtimes refuse them.
int64_t ir_version(int64_t operator_set) { return operator_set < 12 ? 6 : 7; }

namespace model_field {
constexpr int kIrVersion = 1, kProducer = 2, kGraph = 7, kOperatorSet = 8, kMetadata = 14;
}
namespace graph_field {
constexpr int kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12;
}
namespace node_field {
constexpr int kInput = 1, kOutput = 2, kName = 3, kOperator = 4, kAttribute = 5;
}
namespace attribute_field {
constexpr int kName = 1, kFloat = 2, kInt = 3, kInts = 8, kType = 20;
}
namespace tensor_field {
constexpr int kDim = 1, kType = 2, kName = 8, kRawData = 9;
}
enum class AttributeType : uint8_t { kFloat = 1, kInt = 2, kInts = 7 };
enum class ElementType : uint8_t { kFloat = 1, kInt64 = 7 };

Message attribute(std::string_view name, AttributeType type) {
  return Message().text(attribute_field::kName, name).integer(attribute_field::kType, static_cast<int64_t>(type));
}
Message attribute(std::string_view name, int64_t value) {
  return attribute(name, AttributeType::kInt).integer(attribute_field::kInt, value);
}
Message attribute(std::string_view name, float value) {
  return attribute(name, AttributeType::kFloat).real(attribute_field::kFloat, value);
}
Message attribute(std::string_view name, std::initializer_list<int64_t> values) {
  Message message = attribute(name, AttributeType::kInts);
  for (const int64_t value : values) message.integer(attribute_field::kInts, value);
  return message;
}

/// The attributes of a window, as convolutions and pools have them.
std::vector<Message> attributes_of(const Window& w) {
  std::vector<Message> made{attribute("kernel_shape", {w.kernel.height, w.kernel.width}),
                            attribute("strides", {w.stride.height, w.stride.width}),
                            attribute("pads", {w.padding.top, w.padding.left, w.padding.bottom, w.padding.right})};
  if (w.dilation != Extent(1)) made.push_back(attribute("dilations", {w.dilation.height, w.dilation.width}));
  return made;
}
std::vector<Message> attributes_of(const PoolAttrs& pool) {
  std::vector<Message> made = attributes_of(pool.window());
  if (pool.ceil_mode) made.push_back(attribute("ceil_mode", int64_t{1}));
  return made;
}

/// A tensor in the file: its message up to the bytes of the last field, and these bytes.
struct Constant {
  Message begun;
  std::span<const std::byte> bytes;
};

/// Translates a graph's nodes and constants to ONNX's operators. Values keep their names. An intermediate value has the name of
/// the value it leads to, a slash and a word.
class Translation {
 public:
  Translation(const Model& model, const std::string& path, int64_t operator_set)
      : model_(model), path_(path), operator_set_(operator_set) {
    for (const Node& node : model.graph.nodes()) {
      claim(node.name);
      ranks_.push_back(std::visit([&](const auto& attrs) { return add(node, attrs); }, node.attrs));
    }
  }
  [[nodiscard]] const Message& nodes() const noexcept { return nodes_; }
  [[nodiscard]] const std::vector<Constant>& constants() const noexcept { return constants_; }
  /// The value's name and shape; a batch of 0 means any batch size.
  [[nodiscard]] Message value_info(ValueId value, int64_t batch) const {
    const ImageShape& shape = model_.graph.node(value).shape;
    std::vector<int64_t> dims{shape.channels};
    if (rank(value) == kImage) dims = {shape.channels, shape.height, shape.width};
    Message list;
    list.message(1, batch > 0 ? Message().integer(1, batch) : Message().text(2, "batch"));
    for (const int64_t dim : dims) list.message(1, Message().integer(1, dim));
    const Message tensor = Message().integer(1, static_cast<int64_t>(ElementType::kFloat)).message(2, list);
    return Message().text(1, model_.graph.node(value).name).message(2, Message().message(1, tensor));
  }

 private:
  static constexpr int kFeatures = 2, kImage = 4;  // ranks: [N, F] and [N, C, H, W]; elek itself does not distinguish them

  [[nodiscard]] int rank(ValueId value) const { return ranks_[static_cast<size_t>(value)]; }

  const std::string& claim(const std::string& name) {
    if (!names_.insert(name).second) {
      throw InputError(path_ + ": cannot be written: two values would be called " + detail::in_quotes(name) +
                       ", and ONNX tells them by name; rename one in the model");
    }
    return name;
  }

  void emit(std::string_view op, const std::vector<std::string>& inputs, const std::string& output,
            const std::vector<Message>& attributes = {}) {
    Message node;
    for (const std::string& input : inputs) node.text(node_field::kInput, input);
    node.text(node_field::kOutput, output).text(node_field::kName, output).text(node_field::kOperator, op);
    for (const Message& each : attributes) node.message(node_field::kAttribute, each);
    nodes_.message(graph_field::kNode, node);
  }

  std::string constant(const std::string& name, std::span<const int64_t> dims, ElementType type,
                       std::span<const std::byte> bytes) {
    Message tensor;
    for (const int64_t dim : dims) tensor.integer(tensor_field::kDim, dim);
    tensor.integer(tensor_field::kType, static_cast<int64_t>(type)).text(tensor_field::kName, claim(name));
    tensor.announce(tensor_field::kRawData, bytes.size());
    constants_.push_back({Message().announce(graph_field::kInitializer, tensor.size() + bytes.size()).append(tensor), bytes});
    return name;
  }
  std::string integers(const std::string& name, std::vector<int64_t> values) {
    const std::vector<int64_t>& kept = integers_.emplace_back(std::move(values));
    return constant(name, std::array{std::ssize(kept)}, ElementType::kInt64, std::as_bytes(std::span(kept)));
  }
  std::string scalar(const std::string& name, float value) {
    const float& kept = floats_.emplace_back(value);
    return constant(name, {}, ElementType::kFloat, std::as_bytes(std::span(&kept, 1)));
  }
  std::string parameter(const std::string& name) {
    const Tensor& tensor = model_.parameter(name);
    std::vector<int64_t> dims(static_cast<size_t>(tensor.shape().rank()));
    for (int axis = 0; axis < tensor.shape().rank(); ++axis) dims[static_cast<size_t>(axis)] = tensor.shape()[axis];
    return constant(name, dims, ElementType::kFloat, std::as_bytes(tensor.f32()));
  }
  std::vector<std::string> with_weights(std::string input, const Node& node, bool bias) {
    std::vector<std::string> inputs{std::move(input), parameter(node.name + ".weight")};
    if (bias) inputs.push_back(parameter(node.name + ".bias"));
    return inputs;
  }

  /// Name of the node's input as a tensor of rank `wanted`. If it has the other rank, it is reshaped for this reader.
  std::string read(const Node& node, size_t input, int wanted) {
    const ValueId value = node.inputs.at(input);
    const std::string& name = model_.graph.node(value).name;
    if (rank(value) == wanted) return name;
    std::string made = claim(node.name + "/input" + std::to_string(input));
    if (wanted == kFeatures) {
      emit("Flatten", {name}, made, {attribute("axis", int64_t{1})});
    } else if (operator_set_ >= kAxesAreAnInput) {
      emit("Unsqueeze", {name, integers(made + "/axes", {2, 3})}, made);
    } else {
      emit("Unsqueeze", {name}, made, {attribute("axes", {2, 3})});
    }
    return made;
  }

  // Each add() writes a node's operators; the last one makes the node's value. Returns the value's rank.

  static int add(const Node& /*node*/, const InputAttrs& /*attrs*/) { return kImage; }
  int add(const Node& node, const Conv2dAttrs& conv) {
    std::vector<Message> attributes = attributes_of(conv.window());
    attributes.push_back(attribute("group", conv.groups));
    emit("Conv", with_weights(read(node, 0, kImage), node, conv.bias), node.name, attributes);
    return kImage;
  }
  int add(const Node& node, const BatchNormAttrs& norm) {
    const int same = rank(node.inputs.at(0));
    std::vector<std::string> inputs{read(node, 0, same)};
    for (const char* suffix : {".weight", ".bias", ".running_mean", ".running_var"})
      inputs.push_back(parameter(node.name + suffix));
    emit("BatchNormalization", inputs, node.name, {attribute("epsilon", static_cast<float>(norm.eps))});
    return same;
  }
  int add(const Node& node, const ReluAttrs& /*attrs*/) { return elementwise("Relu", node); }
  int elementwise(std::string_view op, const Node& node, const std::vector<Message>& attributes = {},
                  const std::vector<std::string>& more = {}) {
    const int same = rank(node.inputs.at(0));
    std::vector<std::string> inputs{read(node, 0, same)};
    inputs.insert(inputs.end(), more.begin(), more.end());
    emit(op, inputs, node.name, attributes);
    return same;
  }
  int add(const Node& node, const ClipAttrs& clip) {
    return elementwise(
        "Clip", node, {},
        {scalar(node.name + "/low", static_cast<float>(clip.low)), scalar(node.name + "/high", static_cast<float>(clip.high))});
  }
  int add(const Node& node, const LeakyReluAttrs& relu) {
    return elementwise("LeakyRelu", node, {attribute("alpha", static_cast<float>(relu.slope))});
  }
  int add(const Node& node, const SigmoidAttrs& /*attrs*/) { return elementwise("Sigmoid", node); }
  /// As HardSigmoid times x, because HardSwish exists only from operator set 14 on.
  int add(const Node& node, const HardSwishAttrs& /*attrs*/) {
    const int same = rank(node.inputs.at(0));
    const std::string x = read(node, 0, same), gate = claim(node.name + "/gate");
    emit("HardSigmoid", {x}, gate, {attribute("alpha", 1.0F / 6.0F), attribute("beta", 0.5F)});
    emit("Mul", {x, gate}, node.name);
    return same;
  }
  int add(const Node& node, const SiluAttrs& /*attrs*/) {
    const int same = rank(node.inputs.at(0));
    const std::string x = read(node, 0, same), gate = claim(node.name + "/gate");
    emit("Sigmoid", {x}, gate);
    emit("Mul", {x, gate}, node.name);
    return same;
  }
  int add(const Node& node, const AddAttrs& /*attrs*/) {
    const int common = std::max(rank(node.inputs.at(0)), rank(node.inputs.at(1)));
    emit("Add", {read(node, 0, common), read(node, 1, common)}, node.name);
    return common;
  }
  int add(const Node& node, const ConcatAttrs& /*attrs*/) {
    int common = kFeatures;
    for (const ValueId input : node.inputs) common = std::max(common, rank(input));
    std::vector<std::string> inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) inputs.push_back(read(node, i, common));
    emit("Concat", inputs, node.name, {attribute("axis", int64_t{1})});
    return common;
  }
  int add(const Node& node, const ChannelScaleAttrs& /*attrs*/) {
    emit("Mul", {read(node, 0, kImage), read(node, 1, kImage)}, node.name);  // [N, C, 1, 1] is broadcast over the positions
    return kImage;
  }
  int add(const Node& node, const MaxPoolAttrs& pool) {
    emit("MaxPool", {read(node, 0, kImage)}, node.name, attributes_of(pool));
    return kImage;
  }
  int add(const Node& node, const AvgPoolAttrs& pool) {
    std::vector<Message> attributes = attributes_of(pool);
    attributes.push_back(attribute("count_include_pad", int64_t{pool.count_include_pad}));
    emit("AveragePool", {read(node, 0, kImage)}, node.name, attributes);
    return kImage;
  }
  int add(const Node& node, const GlobalAvgPoolAttrs& /*attrs*/) {
    emit("GlobalAveragePool", {read(node, 0, kImage)}, node.name);
    return kImage;
  }
  int add(const Node& node, const LinearAttrs& linear) {
    emit("Gemm", with_weights(read(node, 0, kFeatures), node, linear.bias), node.name, {attribute("transB", int64_t{1})});
    return kFeatures;
  }
  int add(const Node& node, const FlattenAttrs& /*attrs*/) {
    emit("Flatten", {read(node, 0, rank(node.inputs.at(0)))}, node.name, {attribute("axis", int64_t{1})});
    return kFeatures;
  }
  /// Takes every stride-th pixel. If an output has no source, appends a channel of zeros. Then gathers the channels.
  int add(const Node& node, const ChannelMapAttrs& map) {
    std::string value = read(node, 0, kImage);
    std::vector<int64_t> source(map.source.begin(), map.source.end());
    if (map.stride > 1) {
      const std::string made = claim(node.name + "/strided");
      constexpr int64_t kEnd = std::numeric_limits<int64_t>::max();
      emit("Slice",
           {value, integers(made + "/starts", {0, 0}), integers(made + "/ends", {kEnd, kEnd}), integers(made + "/axes", {2, 3}),
            integers(made + "/steps", {map.stride, map.stride})},
           made);
      value = made;
    }
    if (std::find(source.begin(), source.end(), -1) != source.end()) {
      const std::string made = claim(node.name + "/padded");
      emit("Pad", {value, integers(made + "/pads", {0, 0, 0, 0, 0, 1, 0, 0})}, made);  // before each axis, after each
      std::replace(source.begin(), source.end(), int64_t{-1}, model_.graph.node(node.inputs.at(0)).shape.channels);
      value = made;
    }
    emit("Gather", {value, integers(node.name + "/source", std::move(source))}, node.name, {attribute("axis", int64_t{1})});
    return kImage;
  }

  const Model& model_;
  const std::string& path_;
  const int64_t operator_set_;
  std::vector<int> ranks_;  // of the values so far
  Message nodes_;
  std::vector<Constant> constants_;
  std::deque<std::vector<int64_t>> integers_;  // constants_ points into it; a deque does not move its elements
  std::deque<float> floats_;                   // the same
  std::set<std::string> names_;
};

template <typename T>
std::string joined(const std::vector<T>& values, char separator) {
  std::ostringstream text;
  text << std::setprecision(std::numeric_limits<float>::max_digits10);
  for (size_t i = 0; i < values.size(); ++i) text << (i > 0 ? std::string(1, separator) : "") << values[i];
  return text.str();
}

/// All of the file except the graph.
Message about(const Model& model, int64_t operator_set) {
  Message file;
  file.integer(model_field::kIrVersion, ir_version(operator_set)).text(model_field::kProducer, "elek");
  file.message(model_field::kOperatorSet, Message().integer(2, operator_set));
  const auto say = [&file](std::string_view key, std::string_view value) {
    file.message(model_field::kMetadata, Message().text(1, key).text(2, value));
  };
  say("elek.input", "(pixel / 255 - mean) / std");
  say("elek.mean", joined(model.preprocessing.mean, ','));
  say("elek.std", joined(model.preprocessing.stddev, ','));
  if (!model.labels.empty()) say("elek.labels", joined(model.labels, '\n'));
  say("elek.hash", to_hex(hash(model)));
  return file;
}

}  // namespace

void save_onnx(const Model& model, const std::string& path, int64_t batch, int64_t operator_set) {
  ELEK_CHECK(batch >= 0, "save_onnx: a batch of " + std::to_string(batch) + ", expected at least 0");
  ELEK_CHECK(operator_set >= kOldestOnnxSet && operator_set <= kNewestOnnxSet,
             "save_onnx: operator set " + std::to_string(operator_set));
  const Translation translation(model, path, operator_set);
  Message graph;
  graph.text(graph_field::kName, model.architecture);
  graph.message(graph_field::kInput, translation.value_info(0, batch));
  graph.message(graph_field::kOutput, translation.value_info(model.graph.output(), batch));
  graph.append(translation.nodes());

  // The graph is last in the file, and its constants last in it. So the parameters' bytes are never copied into one buffer.
  size_t constants_bytes = 0;
  for (const auto& [begun, bytes] : translation.constants()) constants_bytes += begun.size() + bytes.size();
  const Message start = about(model, operator_set).announce(model_field::kGraph, graph.size() + constants_bytes).append(graph);
  if (start.size() + constants_bytes > kMostBytes) {
    throw InputError(path + ": cannot be written: as ONNX the network takes " + std::to_string(start.size() + constants_bytes) +
                     " bytes, the format (protobuf) allows " + std::to_string(kMostBytes) + "; cut channels first");
  }
  std::vector<std::span<const std::byte>> parts{start.bytes()};
  for (const auto& [begun, bytes] : translation.constants()) {
    parts.push_back(begun.bytes());
    parts.push_back(bytes);
  }
  write_whole_file(path, parts);
}

}  // namespace elek
