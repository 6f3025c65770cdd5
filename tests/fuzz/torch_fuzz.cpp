// SPDX-License-Identifier: Apache-2.0
// Any bytes must be read as named tensors, or refused with an InputError. The first byte chooses what they are: 'r' a whole
// file, 'p' the pickle in a zip archive with two storages, 'n' a .npy file in an archive, 'i' an index of shards, 'k' a pickle
// alone. So mutations of a pickle need not repair an archive around it. What is accepted is read to its last value.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/pickle.h"
#include "models/weights_file.h"
#include "tests/models/archive.h"

namespace {

/// Stops the fuzzer and keeps the input that caused it.
void require(bool holds) {
  if (!holds) std::abort();
}

void read_file(const std::string& bytes) {
  const auto* const data = reinterpret_cast<const std::byte*>(bytes.data());
  const auto file = elek::WeightsFile::parse(elek::MappedFile::owning({data, data + bytes.size()}, "fuzz"));
  for (const auto& entry : file.entries()) {
    require(file.find(entry.name) == &entry);
    std::vector<float> values(static_cast<size_t>(entry.elements()));
    try {
      file.read(entry, values);
    } catch (const elek::InputError&) {
      continue;  // a type without numbers, a wrong checksum
    }
  }
}

void read_pickle(const std::string& bytes) {
  using elek::pickle::Document;
  const Document document = Document::read(std::as_bytes(std::span<const char>(bytes)), 0, "fuzz", {100'000});
  require(document.root() < document.size() && document.end() <= bytes.size());
  size_t total = 0;
  for (elek::pickle::Ref ref = 0; ref < document.size(); ++ref) {
    total += document.describe(ref).size();
    for (const auto item : document[ref].items) require(item < document.size());
    for (const auto item : document.pairs(ref)) require(item < document.size());
    for (const auto item : document.elements(ref)) require(item < document.size());
  }
  require(total > 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    if (data[0] == 'p') {
      read_file(
          elek::test::zip_of({{"a/data.pkl", text}, {"a/data/0", std::string(216, 'x')}, {"a/data/1", std::string(24, 'y')}}));
    } else if (data[0] == 'n') {
      read_file(elek::test::zip_of({{"w.npy", text}}));
    } else if (data[0] == 'i') {
      read_file("{\"weight_map\":" + text);
    } else if (data[0] == 'k') {
      read_pickle(text);
    } else {
      read_file(text);
    }
  } catch (const elek::InputError&) {
    // The error that a wrong file must give.
  }
  return 0;
}
