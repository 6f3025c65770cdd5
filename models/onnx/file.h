// SPDX-License-Identifier: Apache-2.0
// An ONNX file as plain data: nodes, initialisers, inputs, outputs, operator sets. Reading checks the container only (lengths,
// names, counts). What the operators mean, and whether elek has them, is decided in models/onnx/importer.h. Weights stay in the
// mapped file until models/onnx/tensors.h reads them.
// Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
// Tests: tests/models/onnx_import_test.cpp, tests/fuzz/onnx_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/mapped_file.h"
#include "models/onnx/wire.h"

namespace elek::onnx {

/// ONNX's numbers for element types. There are more; those that are not here cannot be weights.
enum class ElementType : int32_t {
  kUndefined = 0,
  kFloat = 1,
  kUint8 = 2,
  kInt8 = 3,
  kUint16 = 4,
  kInt16 = 5,
  kInt32 = 6,
  kInt64 = 7,
  kString = 8,
  kBool = 9,
  kFloat16 = 10,
  kDouble = 11,
  kUint32 = 12,
  kUint64 = 13,
  kBfloat16 = 16,
};

/// A tensor in the file. Its values are read from `message` when they are needed.
struct TensorProto {
  std::string name;
  ElementType type = ElementType::kUndefined;
  std::vector<int64_t> dims;
  std::span<const std::byte> message;
  std::optional<std::span<const std::byte>> raw;  // little-endian values; if absent, they lie in fields of their type
  bool external = false;                          // the values are in another file: `data` says which
  std::map<std::string, std::string> data;        // location, offset, length
};

struct Attribute {
  std::optional<int64_t> integer;
  std::optional<float> real;
  std::optional<std::string> text;
  std::optional<TensorProto> tensor;
  std::vector<int64_t> integers;
  std::vector<float> reals;
};

struct NodeProto {
  std::string name;                 // often empty
  std::string op;                   // "Conv"; "DOMAIN.Conv" for an operator of another domain than ONNX's own
  std::vector<std::string> inputs;  // names of values; empty = an optional input that is not given
  std::vector<std::string> outputs;
  std::map<std::string, Attribute> attributes;

  [[nodiscard]] const Attribute* find(const std::string& attribute) const;
  // The attribute's value, or what it means if it is absent.
  [[nodiscard]] int64_t integer(const std::string& attribute, int64_t otherwise) const;
  [[nodiscard]] float real(const std::string& attribute, float otherwise) const;
  [[nodiscard]] std::string text(const std::string& attribute, const std::string& otherwise) const;
  [[nodiscard]] std::vector<int64_t> integers(const std::string& attribute, const std::vector<int64_t>& otherwise) const;
  /// For messages: the node's name, or else its first output's.
  [[nodiscard]] const std::string& label() const;
  [[nodiscard]] bool has_input(size_t index) const { return index < inputs.size() && !inputs[index].empty(); }
};

/// An input or output of the network.
struct ValueProto {
  std::string name;
  ElementType type = ElementType::kUndefined;
  std::optional<std::vector<std::optional<int64_t>>> dims;  // nothing inside = open ("batch")
};

struct FileProto {
  MappedFile file;
  Source source;
  std::string producer;
  int64_t operator_set = 1;
  std::map<std::string, std::string> metadata;
  std::string graph_name;
  std::vector<NodeProto> nodes;
  std::map<std::string, TensorProto> initialisers;
  std::vector<ValueProto> inputs;  // in old files, initialisers are listed too
  std::vector<ValueProto> outputs;

  [[nodiscard]] const std::string& where() const noexcept { return source.where; }
};

/// Reads and checks the whole file but the values of its tensors. InputError naming the file and what is wrong.
[[nodiscard]] FileProto read_file(const MappedFile& file);

}  // namespace elek::onnx
