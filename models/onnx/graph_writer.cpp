// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/graph_writer.h"

#include <array>

#include "core/error.h"
#include "models/text.h"

namespace elek::onnx {
namespace {

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

Message begun(std::string_view name, AttributeType type) {
  return Message().text(attribute_field::kName, name).integer(attribute_field::kType, static_cast<int64_t>(type));
}

}  // namespace

Message attribute(std::string_view name, int64_t value) {
  return begun(name, AttributeType::kInt).integer(attribute_field::kInt, value);
}

Message attribute(std::string_view name, float value) {
  return begun(name, AttributeType::kFloat).real(attribute_field::kFloat, value);
}

Message attribute(std::string_view name, std::initializer_list<int64_t> values) {
  Message message = begun(name, AttributeType::kInts);
  for (const int64_t value : values) message.integer(attribute_field::kInts, value);
  return message;
}

const std::string& GraphWriter::claim(const std::string& name) {
  if (!names_.insert(name).second) {
    throw InputError(path_ + ": cannot be written: two values would be called " + detail::in_quotes(name) +
                     ", and ONNX tells them by name; rename one in the model");
  }
  return name;
}

void GraphWriter::emit(std::string_view op, const std::vector<std::string>& inputs, const std::string& output,
                       const std::vector<Message>& attributes) {
  Message node;
  for (const std::string& input : inputs) node.text(node_field::kInput, input);
  node.text(node_field::kOutput, output).text(node_field::kName, output).text(node_field::kOperator, op);
  for (const Message& each : attributes) node.message(node_field::kAttribute, each);
  nodes_.message(graph_field::kNode, node);
}

std::string GraphWriter::constant(const std::string& name, std::span<const int64_t> dims, ElementType type,
                                  std::span<const std::byte> bytes) {
  Message tensor;
  for (const int64_t dim : dims) tensor.integer(tensor_field::kDim, dim);
  tensor.integer(tensor_field::kType, static_cast<int64_t>(type)).text(tensor_field::kName, claim(name));
  tensor.announce(tensor_field::kRawData, bytes.size());
  constants_.push_back({Message().announce(graph_field::kInitializer, tensor.size() + bytes.size()).append(tensor), bytes});
  return name;
}

std::string GraphWriter::integers(const std::string& name, const std::vector<int64_t>& values) {
  return kept(name, std::array{std::ssize(values)}, ElementType::kInt64, std::span<const int64_t>(values));
}

std::string GraphWriter::scalar(const std::string& name, float value) {
  return kept(name, {}, ElementType::kFloat, std::span<const float>(&value, 1));
}

}  // namespace elek::onnx
