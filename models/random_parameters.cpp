// SPDX-License-Identifier: Apache-2.0
// Seeded random weights for a network without a file. Tests: tests/models/resnet_test.cpp
#include <cmath>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/model.h"

namespace elek {

namespace {

/// The distribution of one parameter's values: offset + scale * (normal, or uniform in [0, 1)).
struct Draw {
  double offset = 0;
  double scale = 1;
  bool uniform = false;
};

/// A batch norm whose output goes straight into a residual sum as its main branch. Its weights are small. Otherwise a deep
/// random network's activations grow with every block until nothing can be compared.
bool ends_a_branch(const Graph& graph, ValueId value) {
  for (const ValueId reader : graph.consumers(value)) {
    if (graph.node(reader).is<AddAttrs>() && graph.node(reader).inputs[0] == value) return true;
  }
  return false;
}

Draw draw_for(const Graph& graph, const std::string& parameter) {
  const size_t dot = parameter.rfind('.');
  const ValueId value = graph.at(parameter.substr(0, dot));
  const Node& node = graph.node(value);
  if (node.is<BatchNormAttrs>()) {
    if (parameter.ends_with(".weight")) return ends_a_branch(graph, value) ? Draw{0.1, 0.3, true} : Draw{0.5, 1.0, true};
    if (parameter.ends_with(".running_var")) return {0.5, 1.0, true};
    return {0.0, 0.1, false};  // bias, running_mean
  }
  if (parameter.ends_with(".bias")) return {0.0, 0.1, false};
  const Shape weight = op_parameters(graph, node).front().shape;
  const int64_t inputs = weight.elements() / weight[0];  // of one output
  const auto fan_in = static_cast<double>(inputs);
  if (node.is<Conv2dAttrs>()) return {0.0, std::sqrt(2.0 / fan_in), false};  // He et al. 2015, arXiv 1502.01852, equation 10
  return {0.0, std::sqrt(1.0 / fan_in), false};
}

}  // namespace

Parameters random_parameters(const Graph& graph, uint64_t seed, MemoryResource& resource) {
  Parameters parameters;
  for (const ParameterSpec& spec : required_parameters(graph)) {
    throw_if_interrupted();
    // Each parameter has its own random stream, so its values do not depend on the other nodes of the graph.
    Random random(hash_bytes(spec.name.data(), spec.name.size(), kHashSeed ^ seed));
    const Draw draw = draw_for(graph, spec.name);
    auto tensor = std::make_shared<Tensor>(spec.shape, DType::kF32, resource, BlockLabel(spec.name, Use::kModel));
    for (float& value : tensor->f32()) {
      value = static_cast<float>(draw.offset + draw.scale * (draw.uniform ? random.uniform() : random.normal()));
    }
    parameters.emplace(spec.name, std::move(tensor));
  }
  return parameters;
}

}  // namespace elek
