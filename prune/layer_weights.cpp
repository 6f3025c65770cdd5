// SPDX-License-Identifier: Apache-2.0
#include "prune/layer_weights.h"

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

}  // namespace elek
