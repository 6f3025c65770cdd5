// SPDX-License-Identifier: Apache-2.0
// The containers of named tensors besides safetensors: PyTorch's four, NumPy's .npz, and the index of a model in several files.
// Each function makes the content of a WeightsFile; WeightsFile::open() chooses the function by the file's kind.
// `key` is the part of the file to take, "" if the file has only one.
// Tests: tests/models/torch_file_test.cpp, tests/fuzz/torch_fuzz.cpp
#pragma once

#include <string>

#include "models/torch/tensors.h"
#include "models/weights_file.h"

namespace elek::detail {

/// A zip archive: torch.save since 1.6, TorchScript (its archive of weights), numpy.savez.
[[nodiscard]] WeightsFile::Content read_zip_weights(const MappedFile& file, const std::string& key);
/// A pickle: torch.save before 1.6, or pickle.dump of tensors or NumPy arrays.
[[nodiscard]] WeightsFile::Content read_pickle_weights(const MappedFile& file, const std::string& key);
/// A tar archive: torch.save in 2016 and 2017.
[[nodiscard]] WeightsFile::Content read_tar_weights(const MappedFile& file, const std::string& key);
/// A JSON text with a weight_map: the shards that it names are read from the same folder.
[[nodiscard]] WeightsFile::Content read_shards(const MappedFile& file, const std::string& key);

/// The tensors of a safetensors file, by name.
[[nodiscard]] WeightsFile::Content content_of_safetensors(const SafetensorsFile& file);

/// Keeps the tensors whose names start with `key` and a dot, without that prefix. Does nothing for the key "".
/// Errors    InputError that lists the prefixes, if no name starts so
void take_prefix(WeightsFile::Content& content, const std::string& key);
/// Up to 10 names, and how many more there are.
[[nodiscard]] std::string listed(const std::vector<std::string>& names);

/// Adds the tensors of the part that `key` names, or of the only part, and says in a note what was left out.
/// Errors    InputError: no part, several parts and no key, a cycle, more than 100,000 tensors
void take_weights(TorchPickle& pickle, const std::string& key, WeightsFile::Content& content);

}  // namespace elek::detail
