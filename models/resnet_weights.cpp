// SPDX-License-Identifier: Apache-2.0
// What a weights file says about a ResNet's spec; and seeded random weights for a network without a file.
#include <cmath>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/model.h"
#include "models/text.h"
#include "models/weight_names.h"

namespace elek {

namespace {

using detail::in_quotes;
using detail::shape_text;

/// The shapes in the file under torchvision's names, with errors that name tensor, expected and found.
class Shapes {
 public:
  explicit Shapes(const WeightsFile& file, std::string architecture)
      : where_(file.where()), architecture_(std::move(architecture)), entries_(detail::entries_by_name(file)) {}

  [[nodiscard]] bool has(const std::string& name) const { return entries_.contains(name); }

  /// The shape of a tensor of `rank` dimensions.
  [[nodiscard]] const std::vector<int64_t>& at(const std::string& name, size_t rank) const {
    const auto found = entries_.find(name);
    if (found == entries_.end()) fail(name, "a tensor of " + std::to_string(rank) + " dimensions", "none");
    const std::vector<int64_t>& shape = found->second->shape;
    if (shape.size() != rank) fail(name, std::to_string(rank) + " dimensions", shape_text(shape));
    for (const int64_t dim : shape) {
      if (dim < 1) fail(name, "dimensions above 0", shape_text(shape));
    }
    return shape;
  }

  [[noreturn]] void fail(const std::string& name, const std::string& expected, const std::string& found) const {
    throw InputError(where_ + ": tensor " + in_quotes(name) + ": " + architecture_ + " expects " + expected + ", found " +
                     found + "; is this the file of another architecture?");
  }

 private:
  std::string where_, architecture_;
  std::map<std::string, const WeightsFile::Entry*> entries_;
};

std::string block_name(size_t stage, int64_t block) {
  return "layer" + std::to_string(stage + 1) + "." + std::to_string(block);
}

void infer_stem(ResNetSpec& spec, const Shapes& shapes) {
  const std::vector<int64_t>& conv1 = shapes.at("conv1.weight", 4);
  const int64_t kernel = spec.stem == Stem::kImageNet ? 7 : 3;
  if (conv1[2] != kernel || conv1[3] != kernel) {
    shapes.fail("conv1.weight",
                "a " + std::to_string(kernel) + "x" + std::to_string(kernel) + " kernel (" +
                    (kernel == 7 ? "stem imagenet; 3x3 is stem cifar" : "stem cifar; 7x7 is stem imagenet") + ")",
                shape_text(conv1));
  }
  spec.input.channels = conv1[1];
}

void infer_stage(ResNetSpec& spec, size_t stage, const Shapes& shapes) {
  const std::string last_conv = spec.bottleneck ? ".conv3.weight" : ".conv2.weight";
  for (int64_t block = 0; block < spec.blocks[stage]; ++block) {  // a basic block has no conv3, a bottleneck must
    static_cast<void>(shapes.at(block_name(stage, block) + last_conv, 4));
    if (!spec.bottleneck && shapes.has(block_name(stage, block) + ".conv3.weight")) {
      shapes.fail(block_name(stage, block) + ".conv3.weight", "no third convolution in a block", "one");
    }
  }
  const std::string beyond = block_name(stage, spec.blocks[stage]) + ".conv1.weight";
  if (shapes.has(beyond)) shapes.fail(beyond, std::to_string(spec.blocks[stage]) + " blocks in this stage", "more");
  const std::string first = block_name(stage, 0);
  const int64_t out = shapes.at(first + last_conv, 4)[0];
  if (out % spec.expansion != 0) {
    shapes.fail(first + last_conv, "a multiple of " + std::to_string(spec.expansion) + " output channels", std::to_string(out));
  }
  spec.widths[stage] = out / spec.expansion;
}

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

/// Elsewhere a spec that cannot be built is the caller's mistake. Here it came from a file.
Graph build_from_file(const ResNetSpec& spec, const std::string& where) {
  try {
    return build_resnet(spec);
  } catch (const UsageError& error) {
    throw InputError(where + ": its shapes make no network: " + error.what());
  }
}

}  // namespace

ResNetSpec infer_from_weights(ResNetSpec spec, const WeightsFile& weights) {
  const Shapes shapes(weights, spec.name);
  infer_stem(spec, shapes);
  bool projected = false;
  for (size_t stage = 0; stage < spec.blocks.size(); ++stage) {
    infer_stage(spec, stage, shapes);
    projected = projected || shapes.has(block_name(stage, 0) + ".downsample.0.weight");
  }
  const std::string beyond = block_name(spec.blocks.size(), 0) + ".conv1.weight";
  if (shapes.has(beyond)) shapes.fail(beyond, std::to_string(spec.blocks.size()) + " stages", "more");
  spec.shortcut = projected ? Shortcut::kB : Shortcut::kA;
  const int64_t features = spec.widths.back() * spec.expansion;
  const std::vector<int64_t>& fc = shapes.at("fc.weight", 2);
  if (fc[1] != features) shapes.fail("fc.weight", std::to_string(features) + " inputs", shape_text(fc));
  spec.classes = fc[0];
  // All other shapes must follow from these. A wrong one is reported here, not when the weights are loaded.
  for (const ParameterSpec& parameter : required_parameters(build_from_file(spec, weights.where()))) {
    const std::span<const int64_t> dims = parameter.shape.dims();
    const std::vector<int64_t> expected(dims.begin(), dims.end());
    const std::vector<int64_t>& found = shapes.at(parameter.name, expected.size());
    if (found != expected) shapes.fail(parameter.name, shape_text(expected), shape_text(found));
  }
  return spec;
}

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
