// SPDX-License-Identifier: Apache-2.0
#include "prune/layer_weights.h"

#include "core/error.h"

namespace elek {

LayerWeights layer_weights(const Model& model, ValueId id) {
  const Node& node = model.graph.node(id);
  ELEK_CHECK(node.is<Conv2dAttrs>() || node.is<LinearAttrs>(),
             "'" + node.name + "' is a " + std::string(op_name(node)) + ", expected a conv2d or linear with weights");
  const ImageShape& input = model.graph.node(node.inputs.at(0)).shape;
  LayerWeights layer;
  Shape expected;
  if (node.is<Conv2dAttrs>()) {
    const auto& conv = node.as<Conv2dAttrs>();
    layer.outputs = conv.out_channels;
    layer.groups = conv.groups;
    layer.inputs = input.channels / conv.groups;
    layer.taps = conv.kernel * conv.kernel;
    expected = Shape{layer.outputs, layer.inputs, conv.kernel, conv.kernel};
  } else {
    layer.outputs = node.as<LinearAttrs>().out_features;
    layer.inputs = input.channels;  // a feature vector: Graph::add sees to it
    expected = Shape{layer.outputs, layer.inputs};
  }
  const Tensor& weight = model.parameter(node.name + ".weight");
  ELEK_CHECK(weight.shape() == expected, "'" + node.name + ".weight' has shape " + to_string(weight.shape()) +
                                             ", the graph asks for " + to_string(expected) +
                                             "; was the producer pruned without its consumers?");
  layer.data = weight.f32();
  return layer;
}

}  // namespace elek
