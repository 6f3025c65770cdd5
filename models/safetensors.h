// SPDX-License-Identifier: Apache-2.0
// The safetensors container: named arrays and string metadata. Reading maps the file and checks every offset, shape and dtype
// before it returns anything. Writing goes to a temporary file that is renamed when it is complete, so a file is never
// half-written.
// Format: https://github.com/huggingface/safetensors (8-byte length, JSON header, data).
// Tests: tests/models/safetensors_test.cpp, tests/fuzz/safetensors_fuzz.cpp
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elek/types.h"
#include "models/mapped_file.h"

namespace elek {

class SafetensorsFile {
 public:
  struct Entry {
    std::string name;
    std::string dtype;           // "F32" …: any type of models/stored_dtype.h, also those that elek does not compute with
    std::vector<int64_t> shape;  // any rank; a dimension may be 0
    std::span<const std::byte> bytes;
  };
  /// Maps and checks `path`. InputError naming file, tensor, expected, found.
  static SafetensorsFile open(const std::string& path);
  /// The same checks over a file that is mapped already.
  static SafetensorsFile parse(const MappedFile& file);
  /// The same checks over bytes in memory, which must outlive the object; `where` names them in errors.
  static SafetensorsFile parse(std::span<const std::byte> bytes, const std::string& where);
  [[nodiscard]] const std::map<std::string, Entry>& entries() const noexcept;
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept;
  [[nodiscard]] const std::string& where() const noexcept;
  /// InputError if there is no such tensor.
  [[nodiscard]] const Entry& at(const std::string& name) const;
  [[nodiscard]] const MappedFile& mapped() const noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// One array to write; `bytes` must hold product(shape) * size_of(dtype) bytes.
struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};
/// Bytes of the file that write_safetensors() would write.
[[nodiscard]] size_t safetensors_bytes(const std::vector<SafetensorsEntry>& entries,
                                       const std::map<std::string, std::string>& metadata);
/// Writes path.tmp-<pid>, syncs, and renames it over `path`. On an error or interrupt the temporary file is removed, `path`
/// stays as it was, and InputError says why (no space, not writable, …).
void write_safetensors(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                       const std::map<std::string, std::string>& metadata);

}  // namespace elek
