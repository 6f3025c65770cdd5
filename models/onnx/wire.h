// SPDX-License-Identifier: Apache-2.0
// Reads the fields of one protobuf message, in place. Every length is checked against the bytes that are there, nothing is
// copied, and nothing is recursive, so hostile bytes cost no more than their own number.
// https://protobuf.dev/programming-guides/encoding. Must not know ONNX: that is models/onnx/file.h.
// Tests: tests/models/onnx_import_test.cpp, tests/fuzz/onnx_fuzz.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace elek::onnx {

/// The file that messages lie in, for errors: they name the file and the byte.
struct Source {
  std::string where;
  std::span<const std::byte> bytes;
};

class Fields {
 public:
  /// `message` lies in the source's bytes. Both must outlive the object.
  Fields(std::span<const std::byte> message, const Source& source) : rest_(message), source_(source) {}

  /// Goes to the next field; false at the end of the message. InputError if the bytes are no field, or end inside it.
  [[nodiscard]] bool next();
  [[nodiscard]] uint64_t field() const noexcept { return field_; }

  // The current field's value. InputError if it was written as another type.
  [[nodiscard]] int64_t integer() const;
  [[nodiscard]] float real() const;
  [[nodiscard]] std::span<const std::byte> bytes() const;
  [[nodiscard]] std::string_view text() const;

  /// Calls f(value) for each value of a repeated field: one value, or many packed into one field.
  template <typename F>
  void each_integer(const F& f) const {
    if (type_ == Type::kVarint) return f(static_cast<int64_t>(number_));
    for (std::span<const std::byte> packed = bytes(); !packed.empty();) f(static_cast<int64_t>(varint(packed)));
  }
  /// The same for numbers of `T`'s size (float, double); f gets the bytes of one or more of them.
  template <typename T, typename F>
  void each_run(const F& f) const {
    if (type_ == (sizeof(T) == 4 ? Type::kFourBytes : Type::kEightBytes)) return f(payload_);
    if (bytes().size() % sizeof(T) != 0) fail("its packed numbers end in the middle of one");
    f(bytes());
  }
  /// InputError that names the file and where the current field starts.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  enum class Type : uint8_t { kVarint = 0, kEightBytes = 1, kLengthAndBytes = 2, kFourBytes = 5 };

  [[nodiscard]] uint64_t varint(std::span<const std::byte>& from) const;
  [[nodiscard]] std::span<const std::byte> take(uint64_t count);

  std::span<const std::byte> rest_;
  const Source& source_;
  const std::byte* start_ = nullptr;
  uint64_t field_ = 0;
  Type type_ = Type::kVarint;
  uint64_t number_ = 0;
  std::span<const std::byte> payload_;
};

}  // namespace elek::onnx
