// SPDX-License-Identifier: Apache-2.0
// The files of tests/fixtures/import (made by tests/fixtures/scripts/make_import.py), to be imported as they are, or changed
// and written again.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "models/import.h"
#include "models/safetensors.h"
#include "tests/models/files.h"

namespace elek::test {

inline std::string fixture(const std::string& name) { return std::string(ELEK_TEST_DATA) + "/import/" + name + ".safetensors"; }

/// The tensors of a file, to be changed and written again.
struct Tensors {
  struct Array {
    std::string dtype;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };
  std::map<std::string, Array> arrays;

  explicit Tensors(const std::string& name) {
    const SafetensorsFile file = SafetensorsFile::open(fixture(name));
    for (const auto& [key, entry] : file.entries()) {
      arrays[key] = {std::string(entry.dtype), entry.shape, {entry.bytes.begin(), entry.bytes.end()}};
    }
  }
  /// Every name through `change`.
  Tensors& rename(const std::function<std::string(std::string)>& change) {
    std::map<std::string, Array> renamed;
    for (auto& [name, array] : arrays) renamed[change(name)] = std::move(array);
    arrays = std::move(renamed);
    return *this;
  }
  /// Replaces text in all names.
  Tensors& replace(const std::string& from, const std::string& to) {
    return rename([&](std::string name) {
      for (size_t at = name.find(from); at != std::string::npos; at = name.find(from, at + to.size()))
        name.replace(at, from.size(), to);
      return name;
    });
  }
  Tensors& prefix(const std::string& text) {
    return rename([&](const std::string& name) { return text + name; });
  }
  void add(const std::string& name, std::vector<int64_t> shape, float value = 0) {
    int64_t count = 1;
    for (const int64_t dim : shape) count *= dim;
    const std::vector<float> values(static_cast<size_t>(count), value);
    const auto bytes = bytes_of(values);
    arrays[name] = {"F32", std::move(shape), {bytes.begin(), bytes.end()}};
  }
  [[nodiscard]] WeightsFile file(const Folder& folder) const {
    std::vector<SafetensorsEntry> entries;
    for (const auto& [name, array] : arrays) entries.push_back({name, DType::kF32, array.shape, bytes_of(array.bytes)});
    write_safetensors(folder / "w.safetensors", entries, {});
    return WeightsFile::open(folder / "w.safetensors");
  }
};

inline WeightsOptions options_for(int64_t side) {
  WeightsOptions options;
  options.input = {3, side, side};
  options.preprocessing = Preprocessing{{0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}};
  return options;
}

inline Import import_of(const std::string& name, int64_t side = 12, const std::function<void(WeightsOptions&)>& change = {}) {
  WeightsOptions options = options_for(side);
  if (change) change(options);
  return import_weights(WeightsFile::open(fixture(name)), options, host_resource());
}

/// The answers that were assumed.
inline std::vector<Unseen> assumed(const Import& import) {
  std::vector<Unseen> what;
  for (const Taken& taken : import.taken) {
    if (taken.assumed()) what.push_back(taken.what);
  }
  return what;
}

}  // namespace elek::test
