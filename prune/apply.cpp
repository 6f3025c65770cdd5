// SPDX-License-Identifier: Apache-2.0
// Surgery: node by node, from the channels kept of each value. A tensor is new only where it changes.
// Tests: tests/prune/apply_test.cpp
#include "prune/apply.h"

#include <algorithm>
#include <memory>

#include "core/at.h"
#include "core/error.h"
#include "prune/groups.h"
#include "prune/resolve.h"

namespace elek {
namespace {

/// Rewrites one model; reads the dense graph, writes attributes and parameters.
class Surgeon {
 public:
  Surgeon(const Model& dense, const ResolvedPlan& plan, MemoryResource& resource)
      : dense_(dense), plan_(plan), resource_(resource), parameters_(zero_weights(dense, plan, resource)) {}

  Model cut() {
    Graph graph;
    for (size_t i = 0; i < dense_.graph.nodes().size(); ++i) {
      const Node& node = dense_.graph.nodes()[i];
      const auto id = static_cast<ValueId>(i);
      graph.add(node.name, cut_attrs(node, id), node.inputs);
      cut_parameters(node, id);
    }
    graph.set_output(dense_.graph.output());
    return {dense_.architecture, std::move(graph), std::move(parameters_), dense_.preprocessing, dense_.labels, dense_.history};
  }

 private:
  [[nodiscard]] const std::vector<int64_t>& kept(ValueId value) const { return plan_.keep[at(value)]; }

  [[nodiscard]] Attrs cut_attrs(const Node& node, ValueId id) const {
    const int64_t outputs = std::ssize(kept(id));
    if (node.is<Conv2dAttrs>()) {
      auto conv = node.as<Conv2dAttrs>();
      if (is_depthwise(dense_.graph, id)) conv.groups = outputs;
      conv.out_channels = outputs;
      return conv;
    }
    if (node.is<LinearAttrs>()) {
      auto linear = node.as<LinearAttrs>();
      linear.out_features = outputs;
      return linear;
    }
    if (node.is<ChannelMapAttrs>()) return cut_map(node, id);
    return node.attrs;
  }

  [[nodiscard]] ChannelMapAttrs cut_map(const Node& node, ValueId id) const {
    const auto& map = node.as<ChannelMapAttrs>();
    const std::vector<int64_t>& sources = kept(node.inputs.at(0));
    ChannelMapAttrs cut{{}, map.stride};
    for (const int64_t d : kept(id)) {
      const int64_t source = map.source.at(at(d));
      const auto found = std::lower_bound(sources.begin(), sources.end(), source);
      const bool there = source >= 0 && found != sources.end() && *found == source;
      cut.source.push_back(there ? static_cast<int32_t>(found - sources.begin()) : -1);
    }
    return cut;
  }

  void cut_parameters(const Node& node, ValueId id) {
    if (node.is<BatchNormAttrs>()) {
      for (const char* name : {".weight", ".bias", ".running_mean", ".running_var"}) cut_vector(node.name + name, id);
    } else if (node.is<Conv2dAttrs>()) {
      cut_conv(node, id);
      if (node.as<Conv2dAttrs>().bias) cut_vector(node.name + ".bias", id);
    } else if (node.is<LinearAttrs>()) {
      cut_linear(node, id);
      if (node.as<LinearAttrs>().bias) cut_vector(node.name + ".bias", id);
    }
  }

  void cut_vector(const std::string& name, ValueId id) {
    if (!plan_.cuts(dense_.graph, id)) return;
    const std::span<const float> old = parameter(name);
    auto tensor = std::make_shared<Tensor>(Shape{std::ssize(kept(id))}, DType::kF32, resource_, BlockLabel(name, Use::kModel));
    std::transform(kept(id).begin(), kept(id).end(), tensor->f32().begin(), [&](int64_t c) { return old[at(c)]; });
    parameters_[name] = std::move(tensor);
  }

  void cut_conv(const Node& node, ValueId id) {
    const ValueId input = node.inputs.at(0);
    if (!plan_.cuts(dense_.graph, id) && !plan_.cuts(dense_.graph, input)) return;
    const auto& conv = node.as<Conv2dAttrs>();
    const int64_t taps = conv.kernel * conv.kernel;
    // Rows of slice g read input channels [g*width, (g+1)*width); a depthwise row reads its own channel, which stays with it.
    const int64_t width = dense_.graph.node(input).shape.channels / conv.groups;
    const bool depthwise = is_depthwise(dense_.graph, id);
    const int64_t columns = depthwise ? 1 : std::ssize(kept(input)) / conv.groups;
    const std::string name = node.name + ".weight";
    const std::span<const float> old = parameter(name);
    auto tensor = std::make_shared<Tensor>(Shape{std::ssize(kept(id)), columns, conv.kernel, conv.kernel}, DType::kF32,
                                           resource_, BlockLabel(name, Use::kModel));
    float* out = tensor->f32().data();
    for (const int64_t k : kept(id)) {
      const int64_t slice = k / (conv.out_channels / conv.groups);
      const auto first = std::lower_bound(kept(input).begin(), kept(input).end(), slice * width);
      for (auto c = first; c != kept(input).end() && *c < (slice + 1) * width; ++c) {
        out = std::copy_n(old.data() + (k * width + *c - slice * width) * taps, taps, out);
      }
    }
    ELEK_CHECK(out == tensor->f32().data() + tensor->shape().elements(),
               "'" + name + "': cut to another size than " + to_string(tensor->shape()));
    parameters_[name] = std::move(tensor);
  }

  void cut_linear(const Node& node, ValueId id) {
    const ValueId input = node.inputs.at(0);
    if (!plan_.cuts(dense_.graph, id) && !plan_.cuts(dense_.graph, input)) return;
    const int64_t columns = dense_.graph.node(input).shape.channels;
    const std::string name = node.name + ".weight";
    const std::span<const float> old = parameter(name);
    auto tensor = std::make_shared<Tensor>(Shape{std::ssize(kept(id)), std::ssize(kept(input))}, DType::kF32, resource_,
                                           BlockLabel(name, Use::kModel));
    float* out = tensor->f32().data();
    for (const int64_t k : kept(id)) {
      for (const int64_t c : kept(input)) *out++ = old[at(k * columns + c)];
    }
    parameters_[name] = std::move(tensor);
  }

  /// The tensor before its channels are cut: with the plan's zeros, or the dense model's own.
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

bool mixes_channels(const Node& node) { return node.is<Conv2dAttrs>() || node.is<LinearAttrs>() || node.is<ChannelMapAttrs>(); }

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
  const ResolvedPlan resolved = resolve(model, plan);
  return Surgeon(model, resolved, resource).cut();
}

Model masked(const Model& model, const PrunePlan& plan, MemoryResource& resource) {
  const ResolvedPlan resolved = resolve(model, plan);
  const Graph& dense = model.graph;
  Graph graph;
  std::vector<ValueId> moved(dense.nodes().size());    // where each value is now
  std::vector<ValueId> read_at(dense.nodes().size());  // and where convolutions, linear layers and maps read it
  for (size_t i = 0; i < dense.nodes().size(); ++i) {
    const Node& node = dense.nodes()[i];
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back((mixes_channels(node) ? read_at : moved)[at(input)]);
    moved[i] = read_at[i] = graph.add(node.name, node.attrs, std::move(inputs));
    const auto id = static_cast<ValueId>(i);
    const std::vector<ValueId> readers = dense.consumers(id);
    const bool read = std::any_of(readers.begin(), readers.end(), [&](ValueId r) { return mixes_channels(dense.node(r)); });
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
