// SPDX-License-Identifier: Apache-2.0
// Model files: one .safetensors with torchvision's parameter names; __metadata__["elek"] holds graph, preprocessing, labels and
// history as JSON, so that pruned networks describe themselves and Python's tools still read them.
// Tests: tests/models/model_file_test.cpp
#pragma once

#include <string>

#include "graph/model.h"
#include "models/safetensors.h"

namespace elek {

/// Reads a model that save_model wrote. InputError (file, tensor, expected, found, what to do) if it is anything else; a plain
/// weights file is told to go through `elek prepare`.
[[nodiscard]] Model load_model(const std::string& path, MemoryResource& resource);
/// The same from an opened file, or from a file's bytes in memory (SafetensorsFile::parse), which are copied.
[[nodiscard]] Model load_model(const SafetensorsFile& file, MemoryResource& resource);
/// Writes it whole or not at all.
void save_model(const Model& model, const std::string& path);

/// The graph, preprocessing, labels and history as the JSON that model files carry, and back (InputError naming the field).
[[nodiscard]] std::string model_to_json(const Model& model);
[[nodiscard]] Model model_from_json(const std::string& json, const std::string& where);  // parameters empty
/// The history alone, in the same form.
[[nodiscard]] std::string history_to_json(const History& history);

/// Parameters from a plain weights file into the graph's names: `module.` prefix dropped, `linear.*` read as `fc.*`,
/// `num_batches_tracked` ignored, f16/bf16/f64 widened or narrowed to f32; every required tensor there, none left over.
[[nodiscard]] Parameters load_weights(const SafetensorsFile& file, const Graph& graph, MemoryResource& resource);

}  // namespace elek
