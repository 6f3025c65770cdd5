// SPDX-License-Identifier: Apache-2.0
// Nodes whose inputs are all known: constants, shapes, and arithmetic on them. Tests: tests/models/onnx_import_test.cpp
#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "models/onnx/fold.h"
#include "models/onnx/importer.h"

namespace elek::onnx {

Value Importer::constant_node(const NodeProto& node) {
  const std::string& name = node.outputs.front();
  if (const Attribute* found = node.find("value"); found != nullptr && found->tensor) {
    Constant made = tensors_.open(*found->tensor);
    if (made.name.empty()) made.name = name;
    return made;
  }
  if (const Attribute* found = node.find("value_float")) return floats(name, {}, {found->real.value_or(0)});
  if (const Attribute* found = node.find("value_floats")) return floats(name, {std::ssize(found->reals)}, found->reals);
  if (const Attribute* found = node.find("value_int")) return Integers{{}, {{found->integer.value_or(0), false}}};
  if (const Attribute* found = node.find("value_ints")) {
    Integers made{{std::ssize(found->integers)}, {}};
    for (const int64_t value : found->integers) made.values.push_back({value, false});
    return made;
  }
  throw Unsupported{"of another kind than numbers"};
}

Value Importer::constant_of_shape(const NodeProto& node) {
  const std::vector<int64_t> shape = numbers(node, 0);
  constexpr int64_t kMost = 65'536;
  int64_t count = 1;
  for (const int64_t dim : shape) {
    if (dim < 0 || dim > kMost || count * dim > kMost) throw Unsupported{"of too many elements"};
    count *= dim;
  }
  const Attribute* found = node.find("value");
  if (found == nullptr || !found->tensor)
    return floats(node.outputs.front(), shape, std::vector<float>(static_cast<size_t>(count), 0.0F));
  const Constant value = tensors_.open(*found->tensor);
  if (value.elements() != 1) throw Unsupported{"of other than one number"};
  if (value.is_floating()) {
    return floats(node.outputs.front(), shape, std::vector<float>(static_cast<size_t>(count), tensors_.read(value).front()));
  }
  return Integers{shape, std::vector<Integer>(static_cast<size_t>(count), {tensors_.read_integers(value).front(), false})};
}

Value Importer::shape_of(const NodeProto& node) {
  const Value from = input(node, 0);
  if (std::holds_alternative<Unknown>(from)) throw Skipped{};
  Integers made;
  if (const auto* activation = std::get_if<Activation>(&from)) {
    if (activation->row_stride != 1 || activation->column_stride != 1 || !activation->zeros.is_none())
      throw Unsupported{"of a Pad or Slice"};
    for (const Axis& axis : activation->axes)
      made.values.push_back(is_batch(axis) ? Integer{0, true} : Integer{size_of(axis), false});
  } else {
    const std::vector<int64_t>& shape =
        std::holds_alternative<Constant>(from) ? std::get<Constant>(from).shape : std::get<Integers>(from).shape;
    for (const int64_t dim : shape) made.values.push_back({dim, false});
  }
  made.shape = {std::ssize(made.values)};
  if (node.find("start") != nullptr || node.find("end") != nullptr) {
    return fold::sliced(made, 0, node.integer("start", 0), node.integer("end", std::ssize(made.values)), 1);
  }
  return made;
}

/// Add, Sub, Mul and Div of two known values. Floats: of one shape, or one of them a single number, or one per channel.
Value Importer::arithmetic(const NodeProto& node) {
  static const std::map<std::string_view, fold::Operation> kOperations = {{"Add", fold::Operation::kAdd},
                                                                          {"Sum", fold::Operation::kAdd},
                                                                          {"Sub", fold::Operation::kSubtract},
                                                                          {"Mul", fold::Operation::kMultiply},
                                                                          {"Div", fold::Operation::kDivide}};
  const fold::Operation operation = kOperations.at(node.op);
  const Value one = input(node, 0), other = input(node, 1);
  if (std::holds_alternative<Unknown>(one) || std::holds_alternative<Unknown>(other)) throw Skipped{};
  const auto is_float = [](const Value& value) {
    return std::holds_alternative<Constant>(value) && std::get<Constant>(value).is_floating();
  };
  if (!is_float(one) && !is_float(other)) return fold::combined(operation, integers(node, 0), integers(node, 1));
  if (!is_float(one) || !is_float(other)) throw Unsupported{"of a float and an integer"};
  const Constant& a = std::get<Constant>(one);
  const Constant& b = std::get<Constant>(other);
  const std::vector<float> x = tensors_.read(a), y = tensors_.read(b);
  if (a.shape != b.shape && x.size() != 1 && y.size() != 1) throw Unsupported{"of constants of different shapes"};
  std::vector<float> made(x.empty() || y.empty() ? 0 : std::max(x.size(), y.size()));
  for (size_t i = 0; i < made.size(); ++i) {
    const float u = x[x.size() == 1 ? 0 : i], v = y[y.size() == 1 ? 0 : i];
    made[i] = operation == fold::Operation::kAdd        ? u + v
              : operation == fold::Operation::kSubtract ? u - v
              : operation == fold::Operation::kMultiply ? u * v
                                                        : u / v;
  }
  const bool first_is_larger = x.size() > y.size() || (x.size() == y.size() && a.shape.size() >= b.shape.size());
  return floats(node.outputs.front(), first_is_larger ? a.shape : b.shape, made);
}

Value Importer::square_root(const NodeProto& node) {
  const Constant from = constant(node, 0);
  std::vector<float> values = tensors_.read(from);
  for (float& value : values) value = std::sqrt(value);
  return floats(node.outputs.front(), from.shape, values);
}

/// ReduceProd of a list of integers.
Value Importer::product(const NodeProto& node) {
  const Integers from = integers(node, 0);
  if (from.shape.size() != 1) throw Unsupported{"of other than a list of integers"};
  Integers made{node.integer("keepdims", 1) != 0 ? std::vector<int64_t>{1} : std::vector<int64_t>{}, {{1, false}}};
  for (const Integer& each : from.values) {
    made.values = fold::combined(fold::Operation::kMultiply, {{}, made.values}, {{}, {each}}).values;
  }
  return made;
}

}  // namespace elek::onnx
