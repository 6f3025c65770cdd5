// SPDX-License-Identifier: Apache-2.0
// ONNX files made field by field, right or wrong, for the tests of the importer. Field numbers as in models/onnx/file.cpp.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/mapped_file.h"
#include "models/onnx/import.h"
#include "models/protobuf.h"

namespace elek::test {

using detail::Message;

inline Message onnx_ints(const std::string& name, const std::vector<int64_t>& values) {
  Message made = Message().text(1, name).integer(20, 7);
  for (const int64_t value : values) made.integer(8, value);
  return made;
}
inline Message onnx_int(const std::string& name, int64_t value) {
  return Message().text(1, name).integer(20, 2).integer(3, value);
}
inline Message onnx_real(const std::string& name, float value) { return Message().text(1, name).integer(20, 1).real(2, value); }
inline Message onnx_text(const std::string& name, const std::string& value) {
  return Message().text(1, name).integer(20, 3).text(4, value);
}

/// A network of one graph. Every function appends and returns the file itself.
class OnnxFile {
 public:
  /// [batch, dims…]; a 0 is left open.
  OnnxFile& input(const std::string& name, const std::vector<int64_t>& dims) {
    graph_.message(11, value(name, dims));
    return *this;
  }
  OnnxFile& output(const std::string& name) {
    graph_.message(12, value(name, {3}));
    return *this;
  }
  OnnxFile& node(const std::string& op, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                 const std::vector<Message>& attributes = {}) {
    Message made;
    for (const std::string& each : inputs) made.text(1, each);
    for (const std::string& each : outputs) made.text(2, each);
    made.text(4, op);
    for (const Message& each : attributes) made.message(5, each);
    graph_.message(1, made);
    return *this;
  }
  OnnxFile& floats(const std::string& name, const std::vector<int64_t>& dims, const std::vector<float>& values) {
    return tensor(name, 1, dims, std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)));
  }
  /// As many values 0.5, 0.25, 0, -0.25, 0.5, … as the dims say.
  OnnxFile& weights(const std::string& name, const std::vector<int64_t>& dims) {
    size_t count = 1;
    for (const int64_t dim : dims) count *= static_cast<size_t>(dim);
    std::vector<float> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = 0.25F * static_cast<float>(2 - static_cast<int>(i * i % 5));
    return floats(name, dims, values);
  }
  OnnxFile& ints(const std::string& name, const std::vector<int64_t>& values) {
    return tensor(name, 7, {std::ssize(values)},
                  std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(int64_t)));
  }
  OnnxFile& tensor(const std::string& name, int64_t type, const std::vector<int64_t>& dims, const std::string& raw) {
    Message made;
    for (const int64_t dim : dims) made.integer(1, dim);
    return initialiser(made.integer(2, type).text(8, name).text(9, raw));
  }
  OnnxFile& initialiser(const Message& tensor) {
    graph_.message(5, tensor);
    return *this;
  }
  OnnxFile& metadata(const std::string& key, const std::string& value) {
    after_.message(14, Message().text(1, key).text(2, value));
    return *this;
  }
  OnnxFile& producer(const std::string& name) {
    after_.text(2, name);
    return *this;
  }
  /// A global average pool of `from` and a linear layer with 3 outputs.
  OnnxFile& head(const std::string& from, int64_t channels) {
    return node("GlobalAveragePool", {from}, {"pool"})
        .node("Flatten", {"pool"}, {"flat"})
        .weights("fc.weight", {3, channels})
        .node("Gemm", {"flat", "fc.weight"}, {"logits"}, {onnx_int("transB", 1)})
        .output("logits");
  }
  [[nodiscard]] std::string bytes() const {
    const Message file = Message().integer(1, 8).message(7, graph_).message(8, Message().integer(2, 17)).append(after_);
    return {reinterpret_cast<const char*>(file.bytes().data()), file.size()};
  }
  [[nodiscard]] Imported import(const ImportOptions& options = {}) const {
    const std::string all = bytes();
    return import_onnx(MappedFile::in_memory(std::as_bytes(std::span(all)), "net.onnx"), options, host_resource());
  }

 private:
  static Message value(const std::string& name, const std::vector<int64_t>& dims) {
    Message list = Message().message(1, Message().text(2, "batch"));
    for (const int64_t dim : dims) list.message(1, dim == 0 ? Message().text(2, "open") : Message().integer(1, dim));
    return Message().text(1, name).message(2, Message().message(1, Message().integer(1, 1).message(2, list)));
  }

  Message graph_, after_;
};

}  // namespace elek::test
