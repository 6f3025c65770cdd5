// SPDX-License-Identifier: Apache-2.0
// Puts trained weights and biases back into a model. A folded batch norm becomes y = x + bias: its weight cancels its variance,
// which is kept. So the convolution has the trained weights themselves, also where the old scale was zero.
// Tests: tests/train/trainer_test.cpp
#include <algorithm>
#include <cmath>
#include <memory>

#include "core/at.h"
#include "train/bound_program.h"

namespace elek::train {
namespace {

void put(Model& model, const std::string& name, const Shape& shape, std::span<const float> values, MemoryResource& resource) {
  auto tensor = std::make_shared<Tensor>(shape, DType::kF32, resource, BlockLabel(name, Use::kModel));
  std::ranges::copy(values, tensor->f32().begin());
  model.parameters[name] = std::move(tensor);
}

}  // namespace

Model unfold(const Model& base, const BoundProgram& bound, MemoryResource& resource) {
  Model model = base;
  for (const TrainLayer& layer : bound.program.layers) {
    const FusedNode& node = bound.program.steps[at(layer.step)].node;
    const std::string& name = node.node.name;
    const auto channels = at(layer.weight[0]);
    const std::span<const float> bias{bound.parameter(layer.bias_at), channels};
    put(model, name + ".weight", base.parameter(name + ".weight").shape(),
        {bound.parameter(layer.weight_at), at(layer.weight.elements())}, resource);
    const bool own_bias = as_convolution(node.node.attrs).bias;
    const std::vector<float> zeros(channels, 0.0F);
    const Shape each{layer.weight[0]};
    if (own_bias) put(model, name + ".bias", each, node.batch_norm.empty() ? bias : zeros, resource);
    if (node.batch_norm.empty()) continue;
    const double eps = base.graph.node(base.graph.at(node.batch_norm)).as<BatchNormAttrs>().eps;
    std::vector<float> scale(channels);
    const std::span<const float> variance = base.parameter(node.batch_norm + ".running_var").f32();
    for (size_t c = 0; c < channels; ++c) scale[c] = static_cast<float>(std::sqrt(double{variance[c]} + eps));
    put(model, node.batch_norm + ".weight", each, scale, resource);
    put(model, node.batch_norm + ".bias", each, bias, resource);
    put(model, node.batch_norm + ".running_mean", each, zeros, resource);
  }
  return model;
}

}  // namespace elek::train
