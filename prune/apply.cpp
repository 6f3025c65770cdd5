// SPDX-License-Identifier: Apache-2.0
// Cuts a network node by node, from the kept channels of each value. A tensor is copied only if it changes; others are shared.
// Tests: tests/prune/apply_test.cpp
#include "prune/apply.h"

#include <algorithm>
#include <memory>

#include "core/at.h"
#include "core/error.h"
#include "graph/integer_values.h"
#include "prune/groups.h"
#include "prune/resolve.h"

namespace elek {
namespace {

/// Rewrites one model. It reads the dense graph and writes attributes and parameters.
class Surgeon {
 public:
  Surgeon(const Model& dense, const ResolvedPlan& plan, MemoryResource& resource)
      : dense_(dense), plan_(plan), resource_(resource), parameters_(zero_weights(dense, plan, resource)) {}

  Model cut() {
    Graph graph;
    for (size_t i = 0; i < dense_.graph.nodes().size(); ++i) {
      const Node& node = dense_.graph.nodes()[i];
      const auto id = static_cast<ValueId>(i);
      graph.add(node.name, attrs_of(node, id), node.inputs);
      cut_parameters(node, id);
    }
    graph.set_output(dense_.graph.output());
    return {
        dense_.architecture, std::move(graph), std::move(parameters_), dense_.preprocessing, dense_.labels, dense_.history, {}};
  }

 private:
  [[nodiscard]] const std::vector<int64_t>& kept(ValueId value) const { return plan_.keep[at(value)]; }

  [[nodiscard]] Attrs attrs_of(const Node& node, ValueId id) const {
    if (node.inputs.empty()) return node.attrs;
    return cut_attrs(node.attrs, dense_.graph.input_shapes(node), {kept(node.inputs[0]), kept(id)});
  }

  void cut_parameters(const Node& node, ValueId id) {
    for (const OpParameter& each : op_parameters(dense_.graph, node)) {
      const std::string name = node.name + std::string(each.suffix);
      if (each.role == ParameterRole::kWeight) {
        cut_weight(name, each.shape, node, id);
      } else {
        cut_vector(name, id);
      }
    }
  }

  void cut_vector(const std::string& name, ValueId id) {
    if (!plan_.cuts(dense_.graph, id)) return;
    const std::span<const float> old = parameter(name);
    auto tensor = std::make_shared<Tensor>(Shape{std::ssize(kept(id))}, DType::kF32, resource_, BlockLabel(name, Use::kModel));
    std::transform(kept(id).begin(), kept(id).end(), tensor->f32().begin(), [&](int64_t c) { return old[at(c)]; });
    parameters_[name] = std::move(tensor);
  }

  /// Cuts weights [outputs, inputs of one convolution group, …] to the rows and columns that stay.
  void cut_weight(const std::string& name, const Shape& shape, const Node& node, ValueId id) {
    const ValueId input = node.inputs.at(0);
    if (!plan_.cuts(dense_.graph, id) && !plan_.cuts(dense_.graph, input)) return;
    // A row of group g reads the input channels [g * width, (g + 1) * width).
    const int64_t width = shape[1];
    const int64_t groups = dense_.graph.node(input).shape.channels / width;
    const int64_t rows = shape[0] / groups;  // of one group
    const int64_t taps = shape.elements() / (shape[0] * width);
    std::vector<int64_t> dims(shape.dims().begin(), shape.dims().end());
    dims[0] = std::ssize(kept(id));
    // A row of a depthwise convolution reads one channel, its own, and both stay or go together. In other convolutions each
    // convolution group keeps equally many inputs (resolve() checks it).
    if (width > 1 || groups == 1) dims[1] = std::ssize(kept(input)) / groups;
    const std::span<const float> old = parameter(name);
    auto tensor = std::make_shared<Tensor>(Shape(dims), DType::kF32, resource_, BlockLabel(name, Use::kModel));
    float* out = tensor->f32().data();
    for (const int64_t k : kept(id)) {
      const int64_t begin = k / rows * width;
      const auto first = std::lower_bound(kept(input).begin(), kept(input).end(), begin);
      for (auto c = first; c != kept(input).end() && *c < begin + width; ++c) {
        out = std::copy_n(old.data() + (k * width + *c - begin) * taps, taps, out);
      }
    }
    ELEK_CHECK(out == tensor->f32().data() + tensor->shape().elements(),
               "'" + name + "': cut to another size than " + to_string(tensor->shape()));
    parameters_[name] = std::move(tensor);
  }

  /// The tensor before its channels are cut: with the plan's zeros if it has any, otherwise the dense model's own.
  [[nodiscard]] std::span<const float> parameter(const std::string& name) const {
    const auto found = parameters_.find(name);
    ELEK_CHECK(found != parameters_.end(), "the model has no parameter '" + name + "'");
    return found->second->f32();
  }

  const Model& dense_;
  const ResolvedPlan& plan_;
  MemoryResource& resource_;
  Parameters parameters_;
};

/// Whether a node needs masked inputs. Other nodes only tie channels: they lose the same channels as their input.
bool reads_channels(const Node& node) { return has_weights(node) || op_class(node) == OpClass::kGather; }

std::string mask_name(const Graph& graph, const std::string& value) {
  std::string name = value + ".mask";
  while (graph.find(name) >= 0) name += "_";
  return name;
}

ChannelMapAttrs mask_of(const std::vector<int64_t>& keep, int64_t channels) {
  ChannelMapAttrs mask{std::vector<int32_t>(at(channels), -1), 1};
  for (const int64_t c : keep) mask.source[at(c)] = static_cast<int32_t>(c);
  return mask;
}

}  // namespace

Model apply(const Model& model, const PrunePlan& plan, MemoryResource& resource) {
  require_f32_weights(model, "prune");
  const ResolvedPlan resolved = resolve(model, plan);
  return Surgeon(model, resolved, resource).cut();
}

Model masked(const Model& model, const PrunePlan& plan, MemoryResource& resource) {
  const ResolvedPlan resolved = resolve(model, plan);
  const Graph& dense = model.graph;
  Graph graph;
  std::vector<ValueId> moved(dense.nodes().size());    // [dense value]: its id in the new graph
  std::vector<ValueId> read_at(dense.nodes().size());  // [dense value]: the id that convolutions, linear layers and maps read
  for (size_t i = 0; i < dense.nodes().size(); ++i) {
    const Node& node = dense.nodes()[i];
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back((reads_channels(node) ? read_at : moved)[at(input)]);
    moved[i] = read_at[i] = graph.add(node.name, node.attrs, std::move(inputs));
    const auto id = static_cast<ValueId>(i);
    const std::vector<ValueId> readers = dense.consumers(id);
    const bool read = std::any_of(readers.begin(), readers.end(), [&](ValueId r) { return reads_channels(dense.node(r)); });
    if (!read || !resolved.cuts(dense, id)) continue;
    read_at[i] = graph.add(mask_name(dense, node.name), mask_of(resolved.keep[i], node.shape.channels), {moved[i]});
  }
  graph.set_output(moved[at(dense.output())]);
  Model result = model;
  result.graph = std::move(graph);
  result.parameters = zero_weights(model, resolved, resource);
  return result;
}

}  // namespace elek
