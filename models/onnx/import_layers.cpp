// SPDX-License-Identifier: Apache-2.0
// Layers with weights. Parameters are written into their tensors straight from the file.
// Tests: tests/models/onnx_import_test.cpp
#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "models/onnx/importer.h"
#include "models/text.h"

namespace elek::onnx {

using detail::shape_text;

namespace {

/// The channel that each output copies, or -1 for an output of zeros; nothing if the weights [K, C] do anything else.
std::optional<std::vector<int32_t>> sources_of(std::span<const float> weights, size_t channels) {
  std::vector<int32_t> sources;
  for (size_t start = 0; start < weights.size(); start += channels) {
    const std::span<const float> row = weights.subspan(start, channels);
    const auto one = std::find_if(row.begin(), row.end(), [](float weight) { return weight != 0; });
    if (one != row.end() && (*one != 1 || std::any_of(one + 1, row.end(), [](float weight) { return weight != 0; }))) {
      return std::nullopt;
    }
    sources.push_back(one == row.end() ? -1 : static_cast<int32_t>(one - row.begin()));
  }
  return sources;
}

}  // namespace

/// In a file of elek the name of the weights says that a convolution is a channel map; a layer of such weights stays one.
bool Importer::may_be_selection(const Constant& weight) const {
  return file_.producer != "elek" || weight.name.ends_with(kSelection);
}

std::optional<Value> Importer::selection(const NodeProto& node, const Activation& from, const Constant& weight,
                                         const Conv2dAttrs& attrs) {
  const Window plain{1, attrs.stride, 0, 1};
  if (attrs.bias || attrs.groups != 1 || attrs.window() != plain || !attrs.stride.is_square() || !may_be_selection(weight)) {
    return std::nullopt;
  }
  auto sources = sources_of(tensors_.read(weight), static_cast<size_t>(weight.shape[1]));
  if (!sources) return std::nullopt;
  return mapped(node.outputs.front(), from, {std::move(*sources), attrs.stride.height});
}

Value Importer::conv(const NodeProto& node) {
  const Activation from = image(node, window_activation(node, 0));
  const ImageShape shape = network_.shape(from.value);
  const Constant weight = constant(node, 1);
  if (weight.shape.size() != 4) throw Unsupported{"weights of " + std::to_string(weight.shape.size()) + " dimensions, not 4"};
  const int64_t groups = node.integer("group", 1);
  if (groups < 1 || groups > shape.channels || shape.channels % groups != 0 || weight.shape[1] != shape.channels / groups) {
    throw InputError(tensors_.describe(weight) + ": shape " + shape_text(weight.shape) + " does not fit an input of " +
                     std::to_string(shape.channels) + " channels and " + std::to_string(groups) + " groups");
  }
  const SlidingWindow window = sliding_window(node, {weight.shape[2], weight.shape[3]}, from);
  Conv2dAttrs attrs;
  attrs.out_channels = weight.shape[0];
  set_window(attrs, window, from.zeros);
  attrs.groups = groups;
  attrs.bias = node.has_input(2);
  if (std::optional<Value> chosen = selection(node, from, weight, attrs)) return std::move(*chosen);
  Value made = make(node, layer_name(node, weight), attrs, {from.value});
  const ValueId value = std::get<Activation>(made).value;
  tensors_.read(weight, parameter(value, ".weight", Shape(std::span<const int64_t>(weight.shape))));
  if (attrs.bias) {
    const std::vector<float> bias = vector_of(constant(node, 2), attrs.out_channels, "one for each output channel");
    std::copy(bias.begin(), bias.end(), parameter(value, ".bias", Shape{attrs.out_channels}).begin());
  }
  return made;
}

/// y = x w^T + bias. The file's weights are in the order of the file's features, which is not always channel, row, column.
Value Importer::linear(const NodeProto& node, const Activation& from, const Constant& weight, const std::vector<float>& bias) {
  const ImageShape& shape = network_.shape(from.value);
  if (from.axes.size() != 2 || !is_batch(from.axes[0])) throw Unsupported{"its input is no feature vector (batch, features)"};
  const int64_t features = shape.elements();
  if (weight.shape[1] != features || weight.shape[0] == 0) {
    throw InputError(tensors_.describe(weight) + ": expected weights for " + std::to_string(features) +
                     " features, found shape " + shape_text(weight.shape));
  }
  const std::vector<int64_t> order = elements_of(from.axes[1], shape).value();
  ValueId x = from.value;
  if (shape.positions() != 1) x = network_.add(node.inputs.front(), FlattenAttrs{}, {x});
  const LinearAttrs attrs{weight.shape[0], !bias.empty()};
  Value made = make(node, layer_name(node, weight), attrs, {x}, Axes{});
  auto& activation = std::get<Activation>(made);
  activation.axes = feature_axes(network_.shape(activation.value));
  const std::span<float> values = parameter(activation.value, ".weight", Shape{attrs.out_features, features});
  tensors_.read(weight, values);
  std::vector<float> row(static_cast<size_t>(features));
  for (size_t start = 0; start < values.size() && !std::is_sorted(order.begin(), order.end()); start += row.size()) {
    for (size_t i = 0; i < row.size(); ++i) row[static_cast<size_t>(order[i])] = values[start + i];
    std::copy(row.begin(), row.end(), values.begin() + static_cast<std::ptrdiff_t>(start));
  }
  if (!bias.empty()) {
    std::copy(bias.begin(), bias.end(), parameter(activation.value, ".bias", Shape{attrs.out_features}).begin());
  }
  return made;
}

Value Importer::gemm(const NodeProto& node) {
  const Activation from = activation(node, 0);
  if (node.integer("transA", 0) != 0) throw Unsupported{"transA"};
  Constant weight = constant(node, 1);
  if (weight.shape.size() != 2) throw Unsupported{"weights of " + std::to_string(weight.shape.size()) + " dimensions, not 2"};
  if (node.integer("transB", 0) == 0) weight = permuted(weight, std::vector<int64_t>{1, 0});
  const auto outputs = static_cast<size_t>(weight.shape[0]);
  std::vector<float> bias;
  if (node.has_input(2)) {
    const Constant given = constant(node, 2);
    bias = tensors_.read(given);
    if (bias.size() == 1) bias.assign(outputs, bias[0]);
    if (bias.size() != outputs) bias = vector_of(given, weight.shape[0], "one for each output");
    for (float& value : bias) value *= node.real("beta", 1);
  }
  Value made = linear(node, from, weight, bias);
  if (const float alpha = node.real("alpha", 1); alpha != 1) {
    const Activation& activation = std::get<Activation>(made);
    std::vector<double> shift;  // the bias was not meant to be scaled
    shift.reserve(outputs);
    for (const float value : bias) shift.push_back(static_cast<double>(value) * (1.0 - static_cast<double>(alpha)));
    shift.resize(outputs, 0.0);
    network_.absorb(activation.value, {std::vector<double>(outputs, alpha), shift});
  }
  return made;
}

Value Importer::matmul(const NodeProto& node) {
  const Activation from = activation(node, 0);
  const Constant weight = constant(node, 1);
  if (weight.shape.size() != 2) throw Unsupported{"weights of " + std::to_string(weight.shape.size()) + " dimensions, not 2"};
  return linear(node, from, permuted(weight, std::vector<int64_t>{1, 0}), {});
}

Value Importer::batch_norm(const NodeProto& node) {
  Activation from = activation(node, 0);
  if (node.integer("training_mode", 0) != 0) throw Unsupported{"in training mode"};
  const ImageShape shape = network_.shape(from.value);
  if (node.integer("spatial", 1) == 0 && shape.positions() != 1) throw Unsupported{"spatial = 0"};
  const auto order = from.axes.size() >= 2 ? channels_of(from.axes[1], shape) : std::nullopt;
  if (!order) throw Unsupported{"the second axis of its input is not the channels"};
  if (!counts_up(*order)) from = image(node, std::move(from));
  const Constant scale = constant(node, 1);
  const Axes axes = from.axes;
  Value made = make(node, layer_name(node, scale), BatchNormAttrs{decimal(node.real("epsilon", 1e-5F))}, {from.value}, axes);
  static constexpr std::array<std::string_view, 4> kSuffixes = {".weight", ".bias", ".running_mean", ".running_var"};
  for (size_t i = 0; i < kSuffixes.size(); ++i) {
    const std::vector<float> values = vector_of(constant(node, i + 1), shape.channels, "one for each channel");
    const std::span<float> to = parameter(std::get<Activation>(made).value, kSuffixes.at(i), Shape{shape.channels});
    std::copy(values.begin(), values.end(), to.begin());
  }
  return made;
}

}  // namespace elek::onnx
