// SPDX-License-Identifier: Apache-2.0
// A file with named tensors, whatever its container. Users of weights read this and need not know the format. A container's
// reader makes the content below: entries (name, type, shape, strides) and the records of the file in which their bytes lie.
// Nothing is copied until read() writes one tensor's values into the caller's buffer, as f32.
// Must not know networks: what a name means is in models/structure.h.
// Tests: tests/models/weights_file_test.cpp, tests/models/weights_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/mapped_file.h"
#include "models/safetensors.h"
#include "models/zip_file.h"

namespace elek {

class WeightsFile {
 public:
  struct Entry {
    std::string name;
    std::string dtype;             // as safetensors spells it: "F32", "BF16", "I64", "BOOL", "F8_E4M3" …
    std::vector<int64_t> shape;    // any rank; a dimension may be 0
    std::vector<int64_t> strides;  // in elements, as many as dimensions
    size_t record = 0;             // where the values lie: which record, and from which of its bytes
    uint64_t offset = 0;
    /// F32, F16, BF16 or F64: what weights are made of. Counters and masks are not.
    [[nodiscard]] bool is_floating() const;
    [[nodiscard]] int64_t elements() const;
  };
  /// Bytes in a file that tensors lie in. Those of an entry of a zip archive may be deflated, and have a checksum.
  struct Record {
    MappedFile file;
    std::span<const std::byte> bytes;
    std::optional<detail::ZipEntry> zip;
    [[nodiscard]] uint64_t size() const noexcept { return zip ? zip->size : bytes.size(); }  // of the contents
  };
  /// What a container's reader found.
  struct Content {
    std::string where;  // for errors
    std::vector<Entry> entries;
    std::vector<Record> records;
    std::map<std::string, std::string> metadata;
    std::vector<std::string> notes;
  };

  /// Opens `path`: safetensors, PyTorch's formats, NumPy's .npz, or the index of a model in several files. `key` names a part
  /// of the file, where it has several: a key of nested dictionaries, or a prefix of the tensors' names. "." is the whole file.
  /// Errors    InputError: what kind of file it is, if elek finds no tensors in it; which parts there are, if `key` must be
  /// given
  [[nodiscard]] static WeightsFile open(const std::string& path, const std::string& key = "");
  /// The same for a file that is mapped already, or for bytes in memory.
  [[nodiscard]] static WeightsFile parse(const MappedFile& file, const std::string& key = "");
  /// The tensors of an open safetensors file.
  explicit WeightsFile(const SafetensorsFile& file);
  /// What a reader found. InputError if a tensor's values do not lie inside its record, two tensors have one name, a name
  /// contains a NUL byte, or the tensors claim many times more than the file holds.
  explicit WeightsFile(Content content);

  /// All tensors. Those of PyTorch files are in the order in which they were saved, those of safetensors files by name.
  [[nodiscard]] const std::vector<Entry>& entries() const noexcept;
  /// Null if there is no tensor of this name.
  [[nodiscard]] const Entry* find(std::string_view name) const noexcept;
  /// Writes the values of an entry of this file, dense and row-major. Integers and BOOL are converted too (masks). May be
  /// called from several threads at once. Errors    InputError: a type that cannot be converted, a finite f64 beyond the range
  /// of f32 Contract  to.size() == entry.elements()
  void read(const Entry& entry, std::span<float> to) const;

  /// The values of an entry where they lie: dense f32 that needs no unpacking and is aligned. Empty if they must be read().
  [[nodiscard]] std::span<const float> in_place(const Entry& entry) const noexcept;

  /// The file's own texts: safetensors' metadata.
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept;
  /// What the reader chose, in sentences for the user ("weights taken from state_dict; …"). Usually empty.
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept;
  /// The path, for errors.
  [[nodiscard]] const std::string& where() const noexcept;

 private:
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

/// The strides of a dense array whose last (row-major) or first (column-major) dimension is the fastest; all 1 if it has no
/// element.
[[nodiscard]] std::vector<int64_t> row_major_strides(std::span<const int64_t> shape);
[[nodiscard]] std::vector<int64_t> column_major_strides(std::span<const int64_t> shape);

}  // namespace elek
