// SPDX-License-Identifier: Apache-2.0
// Structs that grow from version to version. The caller's struct begins with its own size, which may be that of an older or a
// newer header than the library's. Only the part that both know is read or written.
// Tests: tests/api/options_test.cpp
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string>
#include <type_traits>

#include "api/error.h"

namespace elek::api {

/// Throws UsageError unless `size`, the caller's struct_size, holds at least the first version's `least` bytes.
inline void check_struct_size(size_t size, size_t least, const char* name) {
  if (size < least) {
    throw UsageError(std::string(name) + ": struct_size is " + std::to_string(size) + ", expected sizeof(" + name +
                     "), at least " + std::to_string(least));
  }
}

/// The caller's struct in this library's form; fields that an older header lacks are zero. UsageError if fields that only a
/// newer header has are set, because this library would ignore them.
template <typename T>
T read_growing(const T& given, size_t least, const char* name) {
  static_assert(std::is_trivially_copyable_v<T>);
  const size_t size = given.struct_size;
  check_struct_size(size, least, name);
  T known{};
  std::memcpy(&known, &given, std::min(size, sizeof(T)));
  const auto* const bytes = reinterpret_cast<const unsigned char*>(&given);
  for (size_t i = sizeof(T); i < size; ++i) {
    if (bytes[i] != 0) {
      throw UsageError(std::string(name) + ": a field is set that this version of elek (" + elek_version() +
                       ") does not know; use a newer library, or leave the field zero");
    }
  }
  known.struct_size = sizeof(T);
  return known;
}

/// Writes as many fields as the caller's struct has. struct_size stays the caller's, and fields that only the caller knows
/// become zero.
template <typename T>
void write_growing(T* to, const T& from, size_t least, const char* name) {
  static_assert(std::is_trivially_copyable_v<T>);
  const size_t size = to->struct_size;
  check_struct_size(size, least, name);
  std::memset(static_cast<void*>(to), 0, size);
  std::memcpy(static_cast<void*>(to), &from, std::min(size, sizeof(T)));
  to->struct_size = size;
}

}  // namespace elek::api
