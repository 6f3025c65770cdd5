// SPDX-License-Identifier: Apache-2.0
// Layer by layer: a pass along the trail computes x and z of each batch; FitMoments sums them and solves; the new tensors go
// into the model that the next pass runs. Tests: tests/prune/refit_test.cpp
#include "prune/refit.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "core/threads.h"
#include "prune/resolve.h"
#include "prune/trail.h"

namespace elek {

int thread_count(int asked) { return asked > 0 ? asked : default_threads(); }

namespace {

bool has_zeros(const Model& model, const std::string& name) {
  const std::span<const float> weights = model.parameter(name).f32();
  return std::find(weights.begin(), weights.end(), 0.0F) != weights.end();
}

/// The node whose parameter can take a bias: the batch norm if it is the convolution's only reader, otherwise the layer itself.
ValueId bias_node(const Graph& graph, ValueId id) {
  const Node& node = graph.node(id);
  if (as_convolution(node.attrs).bias) return id;
  if (node.is<LinearAttrs>()) return -1;
  const std::vector<ValueId> readers = graph.consumers(id);
  if (readers.size() == 1 && graph.node(readers[0]).is<BatchNormAttrs>() && graph.output() != id) return readers[0];
  return -1;
}

}  // namespace

FitShape input_shape_of(const Graph& graph, ValueId id) {
  const Node& node = graph.node(id);
  FitShape s;
  s.name = node.name;
  s.input = graph.node(node.inputs.at(0)).shape;
  const Conv2dAttrs conv = as_convolution(node.attrs);
  s.kernel = conv.kernel;
  s.stride = conv.stride;
  s.padding = conv.padding;
  s.dilation = conv.dilation;
  s.groups = conv.groups;
  return s;
}

namespace {

RefitLayer layer_of(const Model& dense, const Model& pruned, ValueId id, const std::vector<int64_t>& kept) {
  const Node& node = pruned.graph.node(id);
  RefitLayer layer;
  layer.node = id;
  layer.bias_node = bias_node(pruned.graph, id);
  layer.sparse = has_zeros(pruned, node.name + ".weight");
  FitShape& s = layer.shape = input_shape_of(pruned.graph, id);
  s.outputs = node.shape.channels;
  s.bias = layer.bias_node >= 0;
  s.targets = kept;
  s.target_channels = dense.graph.node(id).shape.channels;
  return layer;
}

/// running_mean - bias, because z + b - mean = z - (mean - b).
std::shared_ptr<Tensor> shifted_mean(const Model& model, const std::string& name, std::span<const float> bias,
                                     MemoryResource& resource) {
  auto mean = std::make_shared<Tensor>(model.parameter(name).clone(resource, {name, Use::kModel}));
  const std::span<float> values = mean->f32();
  for (size_t c = 0; c < values.size(); ++c) values[c] = static_cast<float>(double{values[c]} - double{bias[c]});
  return mean;
}

void solve_layer(Model& model, const Model& pruned, const RefitLayer& layer, FitMoments& moments, double ridge,
                 MemoryResource& resource) {
  const std::string weight_name = layer.shape.name + ".weight";
  auto weight = std::make_shared<Tensor>(pruned.parameter(weight_name).clone(resource, {weight_name, Use::kModel}));
  std::vector<float> bias(at(layer.shape.outputs), 0.0F);
  moments.solve(weight->f32(), bias, ridge);
  model.parameters[weight_name] = std::move(weight);
  if (layer.bias_node < 0) return;
  const std::string& holder = model.graph.node(layer.bias_node).name;
  if (layer.bias_node == layer.node) {
    auto tensor =
        std::make_shared<Tensor>(Shape{layer.shape.outputs}, DType::kF32, resource, BlockLabel(holder + ".bias", Use::kModel));
    std::copy(bias.begin(), bias.end(), tensor->f32().begin());
    model.parameters[holder + ".bias"] = std::move(tensor);
  } else {
    const std::string name = holder + ".running_mean";
    model.parameters[name] = shifted_mean(pruned, name, bias, resource);
  }
}

/// The value of the dense network that a layer's target is made of.
ValueId dense_value(const RefitLayer& layer) { return layer.block ? layer.block->sum : layer.node; }

/// The values of the pruned network that a layer needs: its input, then the rest of its sum.
std::vector<ValueId> pruned_values(const Graph& graph, const RefitLayer& layer) {
  std::vector<ValueId> values{graph.node(layer.node).inputs.at(0)};
  if (layer.block) values.insert(values.end(), layer.block->rest.begin(), layer.block->rest.end());
  return values;
}

/// MACs of the passes of both networks for one layer, from value `from`; counts their sessions.
int64_t pass_macs(const Graph& dense, const Graph& pruned, const RefitLayer& layer, ValueId from, const Device& device,
                  size_t& sessions) {
  const std::vector<ValueId> values = pruned_values(pruned, layer);
  const ValueId start = values.size() > 1 ? common_start(pruned, from, values, device) : from;
  sessions = 1 + values.size() + (start != from ? 1 : 0);
  int64_t macs = macs_between(dense, from, dense_value(layer));
  if (start != from) macs += macs_between(pruned, from, start);
  for (const ValueId value : values) macs += macs_between(pruned, start, value);
  return macs;
}

/// Decides which values of both networks are kept and where each pass starts, and counts the MACs of all passes.
void plan_trail(const Graph& dense, const Graph& pruned, int64_t samples, size_t bytes, const Device& device, RefitPlan& plan) {
  std::vector<ValueId> inputs;
  for (const RefitLayer& layer : plan.layers) inputs.push_back(dense.node(layer.node).inputs.at(0));
  plan.kept = plan_kept_values({&dense, &pruned}, inputs, samples, bytes);
  ValueId from = -1;
  for (size_t i = 0; i < plan.layers.size(); ++i) {
    const ValueId now = plan.kept.from[i];
    size_t sessions = 0;
    int64_t macs = pass_macs(dense, pruned, plan.layers[i], now, device, sessions);
    plan.sessions = std::max(plan.sessions, sessions);
    if (now != from) macs += macs_between(dense, from, now) + macs_between(pruned, from, now);
    plan.macs_an_image += static_cast<double>(macs) + plan.layers[i].shape.product_macs();
    from = now;
  }
}

/// Gives the layers that complete a residual sum their block targets. Returns the number of these layers.
int64_t set_block_targets(const Graph& graph, const std::vector<bool>& differs, std::vector<RefitLayer>& layers) {
  std::vector<bool> fitted(graph.nodes().size(), false);
  for (const RefitLayer& layer : layers) fitted[at(layer.node)] = true;
  int64_t count = 0;
  for (RefitLayer& layer : layers) {
    layer.block = block_target(graph, layer.node, fitted, differs);
    count += layer.block ? 1 : 0;
  }
  return count;
}

}  // namespace

RefitPlan plan_refit(const Model& dense, const Model& pruned, const PrunePlan& plan, const SessionOptions& options,
                     int64_t samples, const RefitOptions& how) {
  const Graph& graph = dense.graph;
  const size_t count = graph.nodes().size();
  ELEK_CHECK(pruned.graph.nodes().size() == count, "plan_refit: the cut network has " +
                                                       std::to_string(pruned.graph.nodes().size()) + " nodes, the dense one " +
                                                       std::to_string(count));
  const ResolvedPlan resolved = resolve(dense, plan);
  std::vector<bool> differs(count, false);  // values that differ from the dense network's
  RefitPlan made;
  for (ValueId id = 0; id < static_cast<ValueId>(count); ++id) {
    const Node& node = graph.node(id);
    ELEK_CHECK(
        pruned.graph.node(id).name == node.name && pruned.graph.node(id).shape.channels == std::ssize(resolved.keep[at(id)]),
        "plan_refit: '" + node.name + "' of the cut network does not follow from the dense one and the plan");
    bool changed = false;
    for (const ValueId input : node.inputs) changed = changed || differs[at(input)];
    const bool layer = has_weights(node);
    const bool masked = layer && resolved.weights.contains(node.name);
    if (layer && (changed || masked)) made.layers.push_back(layer_of(dense, pruned, id, resolved.keep[at(id)]));
    differs[at(id)] = changed || masked || resolved.cuts(graph, id);
  }
  if (how.target == RefitTarget::kBlock) made.block_targets = set_block_targets(graph, differs, made.layers);
  for (const RefitLayer& layer : made.layers) {
    const size_t bytes = FitMoments::bytes(layer.shape, layer.sparse, thread_count(options.threads));
    if (bytes > made.moments_bytes) {
      made.moments_bytes = bytes;
      made.moments_layer = layer.shape.name;
    }
  }
  const size_t checkpoints = starts_from_values(options.device) ? how.checkpoint_bytes : 0;
  plan_trail(graph, pruned.graph, samples, checkpoints, options.device, made);
  made.dense_passes = made.macs_an_image / static_cast<double>(std::max<int64_t>(1, macs(graph)));
  return made;
}

Model refit(const Model& dense, const Model& pruned, const PrunePlan& plan, BatchSource& calibration,
            const SessionOptions& options, const Progress& progress, const RefitOptions& how) {
  const int threads = thread_count(options.threads);
  // Moments, kept activations and parameters are in host memory, whichever device runs the networks.
  const bool on_host = options.memory != nullptr && is_host(options.memory->device());
  MemoryResource& resource = on_host ? *options.memory : host_resource();
  const int64_t images = calibration.samples();
  if (images == 0) throw InputError("refit: '" + calibration.description() + "' has no sample");
  const RefitPlan work = plan_refit(dense, pruned, plan, options, images, how);
  Model model = pruned;
  Trail trail(calibration, options, work.kept.floats, resource);
  const int64_t total = std::ssize(work.layers) * images;
  int64_t done = 0;
  for (size_t i = 0; i < work.layers.size(); ++i) {
    const RefitLayer& layer = work.layers[i];
    const ValueId from = work.kept.from[i];
    if (from != trail.at()) trail.advance(std::array<const Model*, 2>{&dense, &model}, from);
    FitMoments moments(layer.shape, layer.sparse, threads, resource);
    std::vector<PassOutput> outputs{PassOutput{&dense, 0, dense_value(layer)}};
    for (const ValueId value : pruned_values(model.graph, layer)) outputs.push_back({&model, 1, value});
    std::vector<TargetScale> scales;
    if (layer.block) scales = target_scales(model, *layer.block);
    trail.pass(outputs, [&](int64_t samples, std::span<const std::span<const float>> values) {
      moments.add(values[1], FitTargets{values[0], values.subspan(2), scales}, samples);
      done += samples;
      if (progress) progress(done, total);
    });
    solve_layer(model, pruned, layer, moments, how.ridge, resource);
  }
  return model;
}

}  // namespace elek
