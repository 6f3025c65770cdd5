// SPDX-License-Identifier: Apache-2.0
// A file's bytes, mapped into memory: the readers of models and weights take them from here. Mapping copies nothing, so a file
// costs memory only for the pages that are being read, and forget() gives those back. The bytes of a caller can stand in for a
// file (tests, fuzzers, models in memory).
// Must not know any format.
// Tests: tests/models/safetensors_test.cpp
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace elek {

class MappedFile {
 public:
  /// Maps `path` for reading. InputError if it cannot be opened or is no regular file.
  [[nodiscard]] static MappedFile open(const std::string& path);
  /// Bytes in memory, which must outlive the object; `where` names them in errors.
  [[nodiscard]] static MappedFile in_memory(std::span<const std::byte> bytes, const std::string& where);

  /// Bytes that the object keeps: what was unpacked from a file.
  [[nodiscard]] static MappedFile owning(std::vector<std::byte> bytes, const std::string& where);
  /// A part of a file as a file of its own. `bytes` lie in `file`, which stays mapped.
  [[nodiscard]] static MappedFile part(const MappedFile& file, std::span<const std::byte> bytes);

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept;
  /// The path, or the name of the bytes.
  [[nodiscard]] const std::string& where() const noexcept;
  /// Tells the system that these of the file's bytes are no longer needed. They stay readable: a later read takes them from the
  /// file again. So a loader holds only the pages of one tensor at a time. Does nothing for bytes in memory.
  void forget(std::span<const std::byte> part) const noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
  std::span<const std::byte> bytes_;
};

}  // namespace elek
