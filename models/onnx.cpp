// SPDX-License-Identifier: Apache-2.0
// An ONNX file is one protobuf message. It has few fields, so no protobuf library is needed, and parameters are written to the
// file directly from their tensors. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <iomanip>
#include <limits>
#include <map>
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
#include "graph/integer_values.h"
#include "models/onnx/graph_writer.h"
#include "models/onnx/import.h"

namespace elek {
namespace {

using onnx::attribute;
using onnx::ElementType;
using onnx::GraphWriter;
using onnx::Message;
namespace graph_field = onnx::graph_field;

constexpr int64_t kAxesAreAnInput = 13;                             // operator set from which Unsqueeze reads its axes
constexpr int64_t kScalePerChannel = 13;                            // from which DequantizeLinear has an axis
constexpr size_t kMostBytes = std::numeric_limits<int32_t>::max();  // of a protobuf message

/// The file's layout has versions too. 6 is that of operator set 11, 7 that of 12 to 14; later layouts add nothing that is used
/// here, and old runtimes refuse them.
int64_t ir_version(int64_t operator_set) { return operator_set < 12 ? 6 : 7; }

namespace model_field {
constexpr int kIrVersion = 1, kProducer = 2, kGraph = 7, kOperatorSet = 8, kMetadata = 14;
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

/// Translates a graph's nodes and constants to ONNX's operators. Values keep their names. An intermediate value has the name of
/// the value it leads to, a slash and a word.
class Translation {
 public:
  Translation(const Model& model, const std::string& path, int64_t operator_set)
      : model_(model), operator_set_(operator_set), writer_(path) {
    if (!model.quantization.empty()) rounded_ = integer_values(model.graph, fuse(model.graph), model.quantization);
    for (const Node& node : model.graph.nodes()) {
      claim(node.name);
      ranks_.push_back(std::visit([&](const auto& attrs) { return add(node, attrs); }, node.attrs));
    }
  }
  [[nodiscard]] const GraphWriter& writer() const noexcept { return writer_; }
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

  const std::string& claim(const std::string& name) { return writer_.claim(name); }
  void emit(std::string_view op, const std::vector<std::string>& inputs, const std::string& output,
            const std::vector<Message>& attributes = {}) {
    writer_.emit(op, inputs, output, attributes);
  }
  std::string integers(const std::string& name, const std::vector<int64_t>& values) { return writer_.integers(name, values); }
  std::string scalar(const std::string& name, float value) { return writer_.scalar(name, value); }
  std::string parameter(const std::string& name) {
    const Tensor& tensor = model_.parameter(name);
    std::vector<int64_t> dims(static_cast<size_t>(tensor.shape().rank()));
    for (int axis = 0; axis < tensor.shape().rank(); ++axis) dims[static_cast<size_t>(axis)] = tensor.shape()[axis];
    return writer_.constant(name, dims, ElementType::kFloat, std::as_bytes(tensor.f32()));
  }
  std::vector<std::string> with_weights(std::string input, const Node& node, bool bias) {
    std::vector<std::string> inputs{std::move(input), parameter(node.name + ".weight")};
    if (bias) inputs.push_back(parameter(node.name + ".bias"));
    return inputs;
  }

  /// The value rounded to its grid: through QuantizeLinear and DequantizeLinear, written once.
  std::string rounded(ValueId value) {
    const std::string& name = model_.graph.node(value).name;
    std::string made = name + "/dequantized";
    if (!dequantized_.insert(value).second) return made;
    const IntegerGrid& grid = model_.quantization.values.at(name);
    const std::string scale = scalar(name + "/scale", grid.scale);
    const ElementType type = grid.is_signed ? ElementType::kInt8 : ElementType::kUint8;
    const std::string zero = writer_.kept(name + "/zero", {}, type, std::span<const uint8_t>(&kZero, 1));
    const std::string integers = claim(name + "/quantized");
    emit("QuantizeLinear", {name, scale, zero}, integers);
    emit("DequantizeLinear", {integers, scale, zero}, claim(made));
    return made;
  }
  /// Integers times the scales of output channels, as a tensor of floats.
  template <typename T>
  std::string dequantized(const std::string& name, std::span<const int64_t> dims, ElementType type, std::span<const T> integers,
                          std::span<const float> scales) {
    const std::array channels{std::ssize(scales)};
    const std::vector<T> zeros(scales.size(), T{0});
    const std::string stored = writer_.kept(name + "/quantized", dims, type, integers);
    const std::string scale = writer_.kept(name + "/scale", channels, ElementType::kFloat, scales);
    const std::string zero = writer_.kept(name + "/zero", channels, type, std::span<const T>(zeros));
    emit("DequantizeLinear", {stored, scale, zero}, claim(name), {attribute("axis", int64_t{0})});
    return name;
  }
  /// The inputs of a quantised convolution, as TensorRT, ONNX Runtime and OpenVINO know them: weights of 8 bits with a scale
  /// per output channel, and a bias of 32 bits whose scale is that of the sums. It rounds the bias by half a unit of the sums
  /// at most.
  std::vector<std::string> quantised_inputs(const Node& node, const std::vector<float>& scales) {
    const ValueId read = node.inputs.at(0);
    std::vector<std::string> inputs{rounded(read)};
    const Tensor& weight = model_.parameter(node.name + ".weight");
    std::vector<int8_t> weights(weight.f32().size());
    to_integers(node.name, weight.f32(), scales, weights);
    inputs.push_back(dequantized(node.name + ".weight", weight.shape().dims(), ElementType::kInt8,
                                 std::span<const int8_t>(weights), scales));
    if (!node.as<Conv2dAttrs>().bias) return inputs;
    const float x_scale = model_.quantization.values.at(model_.graph.node(read).name).scale;
    const std::span<const float> bias = model_.parameter(node.name + ".bias").f32();
    std::vector<float> sum_scales;
    std::vector<int32_t> sums;
    for (size_t k = 0; k < bias.size(); ++k) {
      sum_scales.push_back(x_scale * scales[k]);
      constexpr double kMost = 0x7fffffff;
      sums.push_back(static_cast<int32_t>(std::clamp(std::nearbyint(double{bias[k]} / double{sum_scales[k]}), -kMost, kMost)));
    }
    inputs.push_back(dequantized(node.name + ".bias", std::array{std::ssize(sums)}, ElementType::kInt32,
                                 std::span<const int32_t>(sums), std::span<const float>(sum_scales)));
    return inputs;
  }

  /// Name of the node's input as a tensor of rank `wanted`. If it has the other rank, it is reshaped for this reader.
  std::string read(const Node& node, size_t input, int wanted) {
    const ValueId value = node.inputs.at(input);
    std::string name = rounded_.contains(value) ? rounded(value) : model_.graph.node(value).name;
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
    const auto scales = model_.quantization.layers.find(node.name);
    if (scales != model_.quantization.layers.end()) {
      emit("Conv", quantised_inputs(node, scales->second), node.name, attributes);
      return kImage;
    }
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
  /// As a 1x1 convolution whose weights are 1 at the source of an output and 0 elsewhere. Slice, Pad and Gather would say the
  /// same with less arithmetic, but ncnn has no strided Slice and no Gather, and OpenVINO 2026.4.1 computes a wrong convolution
  /// behind a Gather that shuffles channels. The importer knows such a convolution by the name of its weights.
  int add(const Node& node, const ChannelMapAttrs& map) {
    const int64_t channels = model_.graph.node(node.inputs.at(0)).shape.channels;
    const std::array<int64_t, 4> dims{std::ssize(map.source), channels, 1, 1};
    std::vector<float> weights(map.source.size() * static_cast<size_t>(channels), 0.0F);
    for (size_t k = 0; k < map.source.size(); ++k) {
      if (map.source[k] >= 0) weights[k * static_cast<size_t>(channels) + static_cast<size_t>(map.source[k])] = 1;
    }
    const std::string stored =
        writer_.kept(node.name + std::string(onnx::kSelection), dims, ElementType::kFloat, std::span<const float>(weights));
    std::vector<Message> attributes = attributes_of(Window{1, map.stride, 0, 1});
    attributes.push_back(attribute("group", int64_t{1}));
    emit("Conv", {read(node, 0, kImage), stored}, node.name, attributes);
    return kImage;
  }

  static constexpr uint8_t kZero = 0;
  const Model& model_;
  const int64_t operator_set_;
  GraphWriter writer_;
  std::vector<int> ranks_;                  // of the values so far
  std::map<ValueId, IntegerGrid> rounded_;  // where they are made
  std::set<ValueId> dequantized_;           // written so far
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
  if (!model.quantization.empty() && operator_set < kScalePerChannel) {
    throw UsageError("operator set " + std::to_string(operator_set) + ": a quantised network needs " +
                     std::to_string(kScalePerChannel) + " or newer, which has a scale per channel");
  }
  const Translation translation(model, path, operator_set);
  Message graph;
  graph.text(graph_field::kName, model.architecture);
  graph.message(graph_field::kInput, translation.value_info(0, batch));
  graph.message(graph_field::kOutput, translation.value_info(model.graph.output(), batch));
  graph.append(translation.writer().nodes());

  // The graph is last in the file, and its constants last in it. So the parameters' bytes are never copied into one buffer.
  size_t constants_bytes = 0;
  for (const auto& [begun, bytes] : translation.writer().constants()) constants_bytes += begun.size() + bytes.size();
  const Message start = about(model, operator_set).announce(model_field::kGraph, graph.size() + constants_bytes).append(graph);
  if (start.size() + constants_bytes > kMostBytes) {
    throw InputError(path + ": cannot be written: as ONNX the network takes " + std::to_string(start.size() + constants_bytes) +
                     " bytes, the format (protobuf) allows " + std::to_string(kMostBytes) + "; cut channels first");
  }
  std::vector<std::span<const std::byte>> parts{start.bytes()};
  for (const auto& [begun, bytes] : translation.writer().constants()) {
    parts.push_back(begun.bytes());
    parts.push_back(bytes);
  }
  write_whole_file(path, parts);
}

}  // namespace elek
