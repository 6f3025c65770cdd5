// SPDX-License-Identifier: Apache-2.0
#include "prune/layer_weights.h"

#include <cmath>

#include "core/error.h"

namespace elek {

LayerWeights layer_weights(const Model& model, ValueId id) {
  const Node& node = model.graph.node(id);
  ELEK_CHECK(has_weights(node),
             "'" + node.name + "' is a " + std::string(op_name(node)) + ", expected a conv2d or linear with weights");
  const Shape expected = op_parameters(model.graph, node).front().shape;
  LayerWeights layer;
  layer.outputs = expected[0];
  layer.inputs = expected[1];
  layer.taps = expected.elements() / (expected[0] * expected[1]);
  layer.groups = as_convolution(node.attrs).groups;
  const Tensor& weight = model.parameter(node.name + ".weight");
  ELEK_CHECK(weight.shape() == expected, "'" + node.name + ".weight' has shape " + to_string(weight.shape()) + ", expected " +
                                             to_string(expected) + "; was the producer pruned without its consumers?");
  layer.data = weight.f32();
  return layer;
}

std::vector<double> norm_factors(const Model& model, ValueId batch_norm) {
  const Node& norm = model.graph.node(batch_norm);
  const std::span<const float> gamma = model.parameter(norm.name + ".weight").f32();
  const std::span<const float> variance = model.parameter(norm.name + ".running_var").f32();
  std::vector<double> factors(gamma.size());
  for (size_t k = 0; k < factors.size(); ++k)
    factors[k] = double{gamma[k]} / std::sqrt(double{variance[k]} + norm.as<BatchNormAttrs>().eps);
  return factors;
}

}  // namespace elek
