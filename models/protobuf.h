// SPDX-License-Identifier: Apache-2.0
// Writes a protobuf message field by field; only the part of the format that ONNX files need.
// https://protobuf.dev/programming-guides/encoding. Internal to models/. Tests: tests/cli/convert_test.cpp
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace elek::detail {

class Message {
 public:
  Message& integer(int field, int64_t value) {
    tag(field, kVarint);
    varint(static_cast<uint64_t>(value));
    return *this;
  }
  Message& real(int field, float value) {
    static_assert(std::endian::native == std::endian::little, "protobuf's fixed-size numbers are little-endian");
    tag(field, kFourBytes);
    bytes_.append(std::bit_cast<std::array<char, sizeof value>>(value).data(), sizeof value);
    return *this;
  }
  Message& text(int field, std::string_view value) {
    announce(field, value.size());
    bytes_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return text(field, value.bytes_); }
  /// Starts a field of `size` bytes. They must follow, by append() or in the file.
  Message& announce(int field, size_t size) {
    tag(field, kLengthAndBytes);
    varint(size);
    return *this;
  }
  Message& append(const Message& fields) {
    bytes_ += fields.bytes_;
    return *this;
  }
  [[nodiscard]] size_t size() const noexcept { return bytes_.size(); }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return std::as_bytes(std::span<const char>(bytes_)); }

 private:
  enum WireType : uint8_t { kVarint = 0, kLengthAndBytes = 2, kFourBytes = 5 };

  void tag(int field, WireType type) { varint(static_cast<uint64_t>(field) << 3 | type); }
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

}  // namespace elek::detail
