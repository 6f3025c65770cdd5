// SPDX-License-Identifier: Apache-2.0
// What the readers of models share: a model from an open file, its JSON, and its weights. Loading and saving by path is public:
// elek/model.h. Tests: tests/models/model_file_test.cpp, tests/models/weights_test.cpp
#pragma once

#include <string>

#include "elek/model.h"
#include "models/safetensors.h"
#include "models/weights_file.h"

namespace elek {

/// The model in an opened file, or from a file's bytes in memory (SafetensorsFile::parse), which are copied.
[[nodiscard]] Model load_model(const SafetensorsFile& file, MemoryResource& resource);
/// The same, but f32 parameters stay where they lie in the file's bytes, which must outlive the model.
[[nodiscard]] Model model_in_place(const SafetensorsFile& file, MemoryResource& resource);

/// The graph, preprocessing, labels and history as the JSON in model files, and back (InputError naming the field).
[[nodiscard]] std::string model_to_json(const Model& model);
[[nodiscard]] Model model_from_json(const std::string& json, const std::string& where);  // parameters empty
/// The history alone, in the same form.
[[nodiscard]] std::string history_to_json(const History& history);

/// Bytes of the file that save_model() would write.
[[nodiscard]] size_t model_file_bytes(const Model& model);

/// The parameters of a model file, under the graph's names. Every required tensor must exist, and none may be left over.
[[nodiscard]] Parameters load_weights(const WeightsFile& file, const Graph& graph, MemoryResource& resource,
                                      Quantization* quantization = nullptr);

}  // namespace elek
