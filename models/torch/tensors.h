// SPDX-License-Identifier: Apache-2.0
// What the objects in a PyTorch pickle mean: tensors over storages, NumPy arrays, state dicts, whole modules. Only the few
// functions with which PyTorch and NumPy rebuild arrays have a meaning here. Every other class is a name, and nothing is
// called. Containers (zip, legacy, tar) say in which records the storages lie. Must not know networks. Which part of a file has
// the weights is in models/torch/parts.cpp. Tests: tests/models/torch_file_test.cpp
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/pickle.h"
#include "models/weights_file.h"

namespace elek::detail {

using pickle::Ref;

/// A named value of a mapping, a list or a module.
struct Member {
  std::string name;
  Ref value = pickle::kNothing;
};

class TorchPickle {
 public:
  /// The storages' records by key, and for the first format (tar) the tensors by key.
  struct Storages {
    std::map<std::string, size_t, std::less<>> records;
    std::map<std::string, WeightsFile::Entry, std::less<>> tensors;
  };
  /// `document` was read from bytes of `file` and must outlive this. `content` gets a record for each array whose bytes lie in
  /// the pickle itself.
  TorchPickle(const pickle::Document& document, MappedFile file, Storages storages, WeightsFile::Content& content);

  [[nodiscard]] const pickle::Document& document() const noexcept { return document_; }
  [[nodiscard]] const std::string& where() const noexcept { return content_.where; }

  [[nodiscard]] bool is_tensor(Ref ref) const;
  /// A tensor of two or more dimensions: it may be a weight, and is no counter or random state.
  [[nodiscard]] bool is_matrix(Ref ref) const;
  /// The tensor as an entry of this name. InputError that says what it needs and elek does not have.
  [[nodiscard]] WeightsFile::Entry tensor(Ref ref, const std::string& name);
  /// The members of a mapping under texts and numbers, or of a list or tuple by number. Nothing for anything else.
  [[nodiscard]] std::optional<std::vector<Member>> members(Ref ref) const;
  /// Parameters, buffers and modules of a pickled module, in the order of its state dict. Nothing for anything else.
  [[nodiscard]] std::optional<std::vector<Member>> module_members(Ref ref) const;

 private:
  [[noreturn]] void fail(const std::string& name, const std::string& what) const;
  [[nodiscard]] Ref argument(Ref object, size_t index) const;
  [[nodiscard]] Ref unwrapped(Ref ref) const;
  [[nodiscard]] Ref sizes_of(Ref ref) const;
  [[nodiscard]] std::vector<int64_t> integers(Ref ref, const std::string& name) const;
  void set_storage(WeightsFile::Entry& entry, Ref storage, int64_t offset);
  void set_dtype(WeightsFile::Entry& entry, Ref type) const;
  [[nodiscard]] WeightsFile::Entry array(Ref ref, const std::string& name);
  [[nodiscard]] size_t record_of_bytes(Ref bytes, const std::string& name);
  [[nodiscard]] std::pair<MappedFile, std::span<const std::byte>> bytes_of(Ref bytes, const std::string& name) const;

  struct NestedStorage {
    size_t record = 0;
    std::string dtype;
  };
  [[nodiscard]] const NestedStorage& nested_storage(Ref storage, const std::string& name);

  const pickle::Document& document_;
  MappedFile file_;
  Storages storages_;
  WeightsFile::Content& content_;
  std::map<Ref, size_t> bytes_records_;
  std::map<Ref, NestedStorage> nested_;
};

/// The type of a storage class or torch.dtype ("torch.FloatStorage", "torch.float32") as safetensors spells it; empty if elek
/// does not know it. "U8" for an untyped storage.
[[nodiscard]] std::string_view dtype_of_torch(std::string_view name);

/// InputError if Python would run commands, load code or touch files when it loads the pickle: nothing in such a file is taken.
void refuse_hostile(const pickle::Document& document, const std::string& where);

/// A file of PyTorch before 1.6: five pickles, then the storages.
struct LegacyFile {
  pickle::Document object;
  std::map<std::string, size_t, std::less<>> records;  // of storages, by key
};
/// Whether `bytes` start with the magic number of that format.
[[nodiscard]] bool is_legacy(const pickle::Document& first);
/// Reads it; each storage becomes a record of `content`. `bytes` lie in `file`.
/// Errors    InputError: truncated, big-endian, a pickle that is damaged
[[nodiscard]] LegacyFile read_legacy(const MappedFile& file, std::span<const std::byte> bytes, WeightsFile::Content& content);

}  // namespace elek::detail
