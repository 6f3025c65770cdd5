// SPDX-License-Identifier: Apache-2.0
// The nodes and constants of an ONNX graph that is being written. Constants point to the bytes of parameters, or to values that
// are kept here; they are not copied into the message. Field numbers: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
// Tests: tests/models/onnx_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/protobuf.h"

namespace elek::onnx {

using detail::Message;

namespace graph_field {
inline constexpr int kNode = 1, kName = 2, kInitializer = 5, kInput = 11, kOutput = 12;
}
enum class ElementType : uint8_t { kFloat = 1, kUint8 = 2, kInt8 = 3, kInt32 = 6, kInt64 = 7 };

[[nodiscard]] Message attribute(std::string_view name, int64_t value);
[[nodiscard]] Message attribute(std::string_view name, float value);
[[nodiscard]] Message attribute(std::string_view name, std::initializer_list<int64_t> values);

/// A tensor in the file: its message up to the bytes of the last field, and these bytes.
struct WrittenConstant {
  Message begun;
  std::span<const std::byte> bytes;
};

class GraphWriter {
 public:
  explicit GraphWriter(std::string path) : path_(std::move(path)) {}  // for messages
  [[nodiscard]] const Message& nodes() const noexcept { return nodes_; }
  [[nodiscard]] const std::vector<WrittenConstant>& constants() const noexcept { return constants_; }

  /// Takes the name for a value. InputError if it is taken.
  const std::string& claim(const std::string& name);
  /// A node, with its output's name.
  void emit(std::string_view op, const std::vector<std::string>& inputs, const std::string& output,
            const std::vector<Message>& attributes = {});
  /// A tensor of these bytes, which must outlive the writer. Returns its name, as do those below.
  std::string constant(const std::string& name, std::span<const int64_t> dims, ElementType type,
                       std::span<const std::byte> bytes);
  std::string integers(const std::string& name, const std::vector<int64_t>& values);
  std::string scalar(const std::string& name, float value);
  /// A tensor of values that are copied.
  template <typename T>
  std::string kept(const std::string& name, std::span<const int64_t> dims, ElementType type, std::span<const T> values) {
    const std::span<const std::byte> bytes = std::as_bytes(values);
    return constant(name, dims, type, kept_.emplace_back(bytes.begin(), bytes.end()));
  }

 private:
  std::string path_;
  Message nodes_;
  std::vector<WrittenConstant> constants_;
  std::deque<std::vector<std::byte>> kept_;  // constants_ points into it; a deque does not move its elements
  std::set<std::string> names_;
};

}  // namespace elek::onnx
