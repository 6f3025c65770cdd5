// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/wire.h"

#include <bit>
#include <cstring>

#include "core/error.h"

namespace elek::onnx {

static_assert(std::endian::native == std::endian::little, "protobuf's fixed-size numbers are little-endian");

void Fields::fail(const std::string& what) const {
  const std::ptrdiff_t at = start_ == nullptr ? 0 : start_ - source_.bytes.data();
  throw InputError(source_.where + ": not a whole ONNX file: at byte " + std::to_string(at) + ": " + what +
                   "; it is truncated, damaged or of another kind: get it again");
}

uint64_t Fields::varint(std::span<const std::byte>& from) const {
  constexpr size_t kMostBytes = 10, kBitsPerByte = 7;
  uint64_t value = 0;
  for (size_t i = 0; i < kMostBytes && i < from.size(); ++i) {
    const auto byte = std::to_integer<uint64_t>(from[i]);
    value |= (byte & 0x7f) << (kBitsPerByte * i);
    if ((byte & 0x80) == 0) {
      from = from.subspan(i + 1);
      return value;
    }
  }
  fail(from.size() < kMostBytes ? "a number is cut off" : "a number has more than 64 bits");
}

std::span<const std::byte> Fields::take(uint64_t count) {
  if (count > rest_.size()) {
    fail("a field of " + std::to_string(count) + " bytes, but only " + std::to_string(rest_.size()) + " are left");
  }
  const auto taken = rest_.first(static_cast<size_t>(count));
  rest_ = rest_.subspan(taken.size());
  return taken;
}

bool Fields::next() {
  if (rest_.empty()) return false;
  start_ = rest_.data();
  const uint64_t tag = varint(rest_);
  field_ = tag >> 3;
  constexpr uint64_t kHighestField = (1U << 29) - 1;
  if (field_ == 0 || field_ > kHighestField) fail("a field has the number " + std::to_string(field_));
  type_ = static_cast<Type>(tag & 7);
  switch (type_) {
    case Type::kVarint:
      number_ = varint(rest_);
      return true;
    case Type::kEightBytes:
      payload_ = take(8);
      return true;
    case Type::kLengthAndBytes:
      payload_ = take(varint(rest_));
      return true;
    case Type::kFourBytes:
      payload_ = take(4);
      return true;
  }
  fail("a field has the unknown type " + std::to_string(tag & 7));
}

int64_t Fields::integer() const {
  if (type_ != Type::kVarint) fail("field " + std::to_string(field_) + " is no integer");
  return static_cast<int64_t>(number_);
}

float Fields::real() const {
  if (type_ != Type::kFourBytes) fail("field " + std::to_string(field_) + " is no float");
  float value = 0;
  std::memcpy(&value, payload_.data(), sizeof(value));
  return value;
}

std::span<const std::byte> Fields::bytes() const {
  if (type_ != Type::kLengthAndBytes) fail("field " + std::to_string(field_) + " is neither text nor a message");
  return payload_;
}

std::string_view Fields::text() const {
  const std::span<const std::byte> all = bytes();
  return {reinterpret_cast<const char*>(all.data()), all.size()};
}

}  // namespace elek::onnx
