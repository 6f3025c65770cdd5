// SPDX-License-Identifier: Apache-2.0
// What a weights file's own metadata (safetensors) and the files that are published beside it say about it: config.json (timm,
// transformers) and preprocessor_config.json (transformers). They hold what tensors cannot show: input size, mean and standard
// deviation, names of classes, the place of strides. Only files of these two forms are used; others with these names are
// ignored. Internal to models/. Tests: tests/models/config_beside_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "elek/graph.h"

namespace elek::detail {

struct Beside {
  std::string config_name, pixels_name;  // "config.json"; empty if there is no such file
  std::optional<int64_t> channels, height, width;
  std::optional<Preprocessing> preprocessing;
  std::string input_from, preprocessing_from;  // the name of the file, or "the file's metadata"
  std::optional<bool> stride_on_first;         // of a bottleneck
  std::optional<bool> stride_in_first_stage;
  std::vector<std::string> labels;
  std::vector<std::string> notes;  // what elek does differently, or cannot read
};

/// Reads the files in the folder of `weights`. A file that is damaged is told in `notes`, not thrown.
/// Errors    InputError: it describes a network that elek does not compute (another activation than ReLU)
[[nodiscard]] Beside read_beside(const std::string& weights);

/// Overrules `made` by the texts in the file itself: "mean" and "std", one number a channel ("0.5,0.5,0.5" or a JSON list), and
/// "input" or "input_size" (channels, height, width). Texts of another form are told in the notes.
void read_metadata(const std::map<std::string, std::string>& metadata, Beside& made);

}  // namespace elek::detail
