// SPDX-License-Identifier: Apache-2.0
// ONNX files: a network, cut or not, for ONNX Runtime, TensorRT, OpenVINO and what else reads them. They are written only.
// Format: https://onnx.ai/onnx/repo-docs/IR.html; operators: https://onnx.ai/onnx/operators, as of operator set 13.
// Tests: tests/cli/convert_test.cpp, tests/models/onnx_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "graph/model.h"

namespace elek {

/// Writes the network whole or not at all: f32, batch norm kept apart. Its input is the graph's, [batch, C, H, W]: pixels that
/// are normalised already; batch 0 leaves that dimension open. Mean, std, labels and the model's hash go along as metadata,
/// the history does not. InputError where the file would pass the 2 GB that protobuf allows, where two values would have one
/// name, and as write_safetensors().
void save_onnx(const Model& model, const std::string& path, int64_t batch);

}  // namespace elek
