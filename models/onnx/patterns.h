// SPDX-License-Identifier: Apache-2.0
// Chains of ONNX nodes that are one operator of elek: hard sigmoid and hard swish, as older exporters write them. They are
// replaced before anything is translated, so that the nodes inside the chain disappear if nothing else reads them. Tests:
// tests/models/onnx_import_test.cpp
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/onnx/file.h"

namespace elek::onnx {

inline constexpr const char* kSilu = "elek.Silu";  // an operator of ours: x * sigmoid(x), which ONNX spells as two nodes

/// The number that a value is, if it is a constant of one element.
using ScalarOf = std::function<std::optional<float>(const std::string& value)>;

/// Replaces HardSigmoid(x) and HardSwish(x) in their spellings with Add 3, Clip 0 … 6 and a division by 6, or a Mul by
/// HardSigmoid. Every node keeps its output's name.
void replace_chains(std::vector<NodeProto>& nodes, const ScalarOf& scalar_of);

}  // namespace elek::onnx
