// SPDX-License-Identifier: Apache-2.0
// Model files: one .safetensors with torchvision's parameter names. __metadata__["elek"] holds graph, preprocessing, labels and
// history as JSON. So pruned networks describe themselves, and Python's tools can read them.
// Tests: tests/models/model_file_test.cpp
#pragma once

#include <string>

#include "graph/model.h"
#include "models/safetensors.h"

namespace elek {

/// Reads a model that save_model wrote. Anything else is an InputError (file, tensor, expected, found, what to do); for a plain
/// weights file the message names `elek prepare`.
[[nodiscard]] Model load_model(const std::string& path, MemoryResource& resource);
/// The same from an opened file, or from a file's bytes in memory (SafetensorsFile::parse), which are copied.
[[nodiscard]] Model load_model(const SafetensorsFile& file, MemoryResource& resource);
/// Writes the whole file, or leaves nothing behind.
void save_model(const Model& model, const std::string& path);

/// The graph, preprocessing, labels and history as the JSON in model files, and back (InputError naming the field).
[[nodiscard]] std::string model_to_json(const Model& model);
[[nodiscard]] Model model_from_json(const std::string& json, const std::string& where);  // parameters empty
/// The history alone, in the same form.
[[nodiscard]] std::string history_to_json(const History& history);

/// Parameters from a plain weights file under the graph's names. The prefix `module.` is dropped, `linear.*` is read as `fc.*`,
/// `num_batches_tracked` is ignored, f16, bf16 and f64 become f32. Every required tensor must exist, and none may be left over.
[[nodiscard]] Parameters load_weights(const SafetensorsFile& file, const Graph& graph, MemoryResource& resource);

}  // namespace elek
