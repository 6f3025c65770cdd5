// SPDX-License-Identifier: Apache-2.0
// What a node reads and makes. Every lookup either returns the thing that the translation wants, or throws what makes the
// importer go on with the next node. Tests: tests/models/onnx_import_test.cpp
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "models/onnx/importer.h"
#include "models/text.h"

namespace elek::onnx {

using detail::in_quotes;
using detail::shape_text;

double decimal(float value) {
  if (!std::isfinite(value)) return static_cast<double>(value);
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  double made = 0;
  std::from_chars(text.data(), written.ptr, made);
  return made;
}

Value Importer::input(const NodeProto& node, size_t index) {
  if (!node.has_input(index)) throw Unsupported{"input " + std::to_string(index) + " is missing"};
  const std::string& name = node.inputs[index];
  if (const auto found = values_.find(name); found != values_.end()) return found->second;
  return tensors_.open(file_.initialisers.at(name));
}

bool Importer::is_activation(const NodeProto& node, size_t index) {
  return node.has_input(index) && std::holds_alternative<Activation>(input(node, index));
}

Activation Importer::window_activation(const NodeProto& node, size_t index) {
  Value found = input(node, index);
  if (std::holds_alternative<Unknown>(found)) throw Skipped{};
  if (!std::holds_alternative<Activation>(found)) throw Unsupported{"it reads the constant " + in_quotes(node.inputs[index])};
  Activation made = std::get<Activation>(std::move(found));
  if (made.row_stride != 1 || made.column_stride != 1) made = strided(made, node.inputs[index]);
  return made;
}

Activation Importer::activation(const NodeProto& node, size_t index) {
  Activation made = window_activation(node, index);
  if (!made.zeros.is_none()) throw Unsupported{"it reads the zeros of a Pad; elek pads only for convolutions and pools"};
  return made;
}

Activation Importer::image(const NodeProto& node, Activation from) {
  const ImageShape& shape = network_.shape(from.value);
  if (!is_image(from.axes, shape)) throw Unsupported{"the axes of its input are not batch, channels, rows, columns"};
  const auto order = channels_of(from.axes[1], shape);
  if (!order) throw Unsupported{"the channels of its input are mixed with other axes"};
  if (counts_up(*order)) return from;
  const Border zeros = from.zeros;
  Activation made = std::get<Activation>(mapped(node.inputs[0], from, {*order, 1}));
  made.zeros = zeros;
  values_[node.inputs[0]] = made;  // other readers take the same
  return made;
}

Constant Importer::constant(const NodeProto& node, size_t index) {
  Value found = input(node, index);
  if (std::holds_alternative<Unknown>(found)) throw Skipped{};
  if (!std::holds_alternative<Constant>(found)) throw Unsupported{"its input " + std::to_string(index) + " is not a constant"};
  return std::get<Constant>(std::move(found));
}

Integers Importer::integers(const NodeProto& node, size_t index) {
  constexpr int64_t kMostIntegers = 4096;  // more than a network has channels
  Value found = input(node, index);
  if (std::holds_alternative<Unknown>(found)) throw Skipped{};
  if (std::holds_alternative<Integers>(found)) return std::get<Integers>(std::move(found));
  if (!std::holds_alternative<Constant>(found)) throw Unsupported{"its input " + std::to_string(index) + " is not a constant"};
  const Constant& from = std::get<Constant>(found);
  if (from.is_floating() || from.elements() > kMostIntegers) {
    throw Unsupported{"its input " + std::to_string(index) + " is expected to be a few integers"};
  }
  Integers made{from.shape, {}};
  for (const int64_t value : tensors_.read_integers(from)) made.values.push_back({value, false});
  return made;
}

std::vector<int64_t> Importer::numbers(const NodeProto& node, size_t index) {
  std::vector<int64_t> made;
  for (const Integer& each : integers(node, index).values) {
    if (each.batch) throw Unsupported{"it computes with the batch size"};
    made.push_back(each.value);
  }
  return made;
}

std::vector<int64_t> Importer::numbers(const NodeProto& node, const char* attribute, size_t index,
                                       std::vector<int64_t> otherwise) {
  if (const Attribute* found = node.find(attribute)) {
    return found->integer ? std::vector<int64_t>{*found->integer} : found->integers;
  }
  return node.has_input(index) ? numbers(node, index) : std::move(otherwise);
}

std::optional<float> Importer::number(const NodeProto& node, const char* attribute, size_t index) {
  if (const Attribute* found = node.find(attribute)) return found->real;
  if (!node.has_input(index)) return std::nullopt;
  const Constant from = constant(node, index);
  if (from.elements() != 1) throw Unsupported{"its input " + std::to_string(index) + " is expected to be one number"};
  return tensors_.read(from).front();
}

std::vector<float> Importer::vector_of(const Constant& from, int64_t channels, const char* what) const {
  if (from.elements() != channels) {
    throw InputError(tensors_.describe(from) + ": expected " + std::to_string(channels) + " values (" + what +
                     "), found shape " + shape_text(from.shape));
  }
  return tensors_.read(from);
}

size_t Importer::axis_in(int64_t axis, size_t rank) {
  const int64_t made = axis < 0 ? axis + static_cast<int64_t>(rank) : axis;
  if (made < 0 || made >= static_cast<int64_t>(rank)) {
    throw Unsupported{"axis " + std::to_string(axis) + " of " + std::to_string(rank)};
  }
  return static_cast<size_t>(made);
}

bool Importer::read_once(const std::string& name) const {
  const auto found = readers_.find(name);
  return (found == readers_.end() ? 0 : found->second.size()) + (name == output_name_ ? 1 : 0) == 1;
}

Value Importer::make(const NodeProto& node, const std::string& name, Attrs attrs, std::vector<ValueId> inputs,
                     const std::optional<Axes>& axes) {
  const ValueId value = network_.add(name, std::move(attrs), std::move(inputs));
  return Activation{value, axes ? *axes : image_axes(network_.shape(value)), read_once(node.outputs.front())};
}

std::span<float> Importer::parameter(ValueId value, std::string_view suffix, const Shape& shape) {
  constexpr size_t kMostTimes = 32, kAlways = size_t{1} << 20;  // int8 becomes four times as large; the rest is shared weights
  parameter_bytes_ += checked_bytes(shape, DType::kF32);
  if (parameter_bytes_ > kMostTimes * tensors_.file_bytes() + kAlways) {
    throw InputError(file_.where() + ": its nodes use the same weights so often that they would take " +
                     std::to_string(parameter_bytes_) + " bytes and more; elek copies them for each");
  }
  return network_.add_parameter(value, suffix, shape);
}

Value Importer::renamed(const NodeProto& node, Activation from, Axes axes) const {
  from.axes = std::move(axes);
  from.alone = from.alone && read_once(node.outputs.front());
  return from;
}

std::string Importer::layer_name(const NodeProto& node, const Constant& weight) {
  static constexpr std::string_view kSuffix = ".weight";
  const std::string& name = weight.name;
  if (name.size() > kSuffix.size() && name.ends_with(kSuffix)) return name.substr(0, name.size() - kSuffix.size());
  return node.outputs.front();
}

}  // namespace elek::onnx
