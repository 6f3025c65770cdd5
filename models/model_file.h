// SPDX-License-Identifier: Apache-2.0
// What the readers of models share: a model from an open file, its JSON, and plain weights under a graph's names. Loading and
// saving by path is public: elek/model.h. Tests: tests/models/model_file_test.cpp, tests/models/weights_test.cpp
#pragma once

#include <string>

#include "elek/model.h"
#include "models/safetensors.h"
#include "models/weights_file.h"

namespace elek {

/// The model in an opened file, or from a file's bytes in memory (SafetensorsFile::parse), which are copied.
[[nodiscard]] Model load_model(const SafetensorsFile& file, MemoryResource& resource);

/// The graph, preprocessing, labels and history as the JSON in model files, and back (InputError naming the field).
[[nodiscard]] std::string model_to_json(const Model& model);
[[nodiscard]] Model model_from_json(const std::string& json, const std::string& where);  // parameters empty
/// The history alone, in the same form.
[[nodiscard]] std::string history_to_json(const History& history);

/// Parameters from a plain weights file under the graph's names. The prefix `module.` is dropped, `linear.*` is read as `fc.*`,
/// `num_batches_tracked` is ignored, f16, bf16 and f64 become f32. Every required tensor must exist, and none may be left over.
[[nodiscard]] Parameters load_weights(const WeightsFile& file, const Graph& graph, MemoryResource& resource);

/// Completes a spec from the shapes in a weights file: widths, shortcut kind, classes, input channels. InputError naming
/// tensor, expected and found if file and family disagree.
[[nodiscard]] ResNetSpec infer_from_weights(ResNetSpec spec, const WeightsFile& weights);

}  // namespace elek
