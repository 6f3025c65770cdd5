// SPDX-License-Identifier: Apache-2.0
// Layer by layer: two truncated sessions make x and z of each batch, FitMoments sums and solves, the new tensors go into the
// model that the next layer's session is built from. Tests: tests/prune/refit_test.cpp
#include "prune/refit.h"

#include <algorithm>
#include <memory>
#include <thread>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/runtime.h"
#include "prune/resolve.h"

namespace elek {
namespace {

size_t at(int64_t i) { return static_cast<size_t>(i); }

/// A batch's x and z lie on the host at once: no more bytes than this each, whatever the images' size.
constexpr int64_t kBatchBytes = int64_t{32} << 20;

int thread_count(int asked) { return asked > 0 ? asked : std::max(1, static_cast<int>(std::thread::hardware_concurrency())); }

/// The network cut off after `value`, which becomes its answer. Tensors are shared; those of later layers are left out.
Model ending_at(const Model& model, ValueId value) {
  Model head;
  head.architecture = model.architecture;
  head.preprocessing = model.preprocessing;
  for (ValueId id = 0; id <= value; ++id) {
    const Node& node = model.graph.node(id);
    head.graph.add(node.name, node.attrs, node.inputs);
  }
  head.graph.set_output(value);
  for (const ParameterSpec& spec : required_parameters(head.graph)) head.parameters[spec.name] = model.parameters.at(spec.name);
  return head;
}

/// MACs of the nodes that `value` is computed from, itself included.
int64_t macs_up_to(const Graph& graph, ValueId value) {
  std::vector<bool> needed(graph.nodes().size(), false);
  needed[at(value)] = true;
  int64_t total = 0;
  for (ValueId id = value; id >= 0; --id) {
    if (!needed[at(id)]) continue;
    const Node& node = graph.node(id);
    for (const ValueId input : node.inputs) needed[at(input)] = true;
    total += macs(graph, node);
  }
  return total;
}

bool has_zeros(const Model& model, const std::string& name) {
  const std::span<const float> weights = model.parameter(name).f32();
  return std::find(weights.begin(), weights.end(), 0.0F) != weights.end();
}

/// Which node's parameter can take a bias: the batch norm that alone reads the convolution, else the layer itself.
ValueId bias_node(const Graph& graph, ValueId id) {
  const Node& node = graph.node(id);
  if (node.is<LinearAttrs>()) return node.as<LinearAttrs>().bias ? id : -1;
  if (node.as<Conv2dAttrs>().bias) return id;
  const std::vector<ValueId> readers = graph.consumers(id);
  if (readers.size() == 1 && graph.node(readers[0]).is<BatchNormAttrs>() && graph.output() != id) return readers[0];
  return -1;
}

RefitLayer layer_of(const Model& dense, const Model& pruned, ValueId id, const std::vector<int64_t>& kept) {
  const Node& node = pruned.graph.node(id);
  RefitLayer layer;
  layer.node = id;
  layer.bias_node = bias_node(pruned.graph, id);
  layer.sparse = has_zeros(pruned, node.name + ".weight");
  FitShape& s = layer.shape;
  s.name = node.name;
  s.input = pruned.graph.node(node.inputs.at(0)).shape;
  s.outputs = node.shape.channels;
  s.bias = layer.bias_node >= 0;
  s.targets = kept;
  s.target_channels = dense.graph.node(id).shape.channels;
  if (node.is<Conv2dAttrs>()) {
    const auto& conv = node.as<Conv2dAttrs>();
    s.kernel = conv.kernel;
    s.stride = conv.stride;
    s.padding = conv.padding;
    s.groups = conv.groups;
  }
  return layer;
}

/// Products of one image for A (its upper half) and B.
double product_macs(const FitShape& s) {
  const double n = static_cast<double>(s.unknowns());
  const double positions = static_cast<double>(s.output_height() * s.output_width());
  return positions * n * (static_cast<double>(s.groups) * (n + 1) / 2 + static_cast<double>(s.outputs));
}

class Pass {
 public:
  Pass(BatchSource& source, Session& session) : source_(source) { source_.start(session.slots()); }
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass() { source_.stop(); }

 private:
  BatchSource& source_;
};

/// Runs both networks over the images and sums the layer's moments. Returns the samples seen.
int64_t gather(const Model& dense, const Model& pruned, const RefitLayer& layer, BatchSource& calibration,
               SessionOptions options, FitMoments& moments, const std::function<void(int64_t)>& progress) {
  const int64_t widest = std::max({layer.shape.input.elements(), dense.graph.node(layer.node).shape.elements(), int64_t{1}});
  const int64_t most = std::max<int64_t>(1, kBatchBytes / (widest * static_cast<int64_t>(sizeof(float))));
  options.batch = std::min(options.batch, most);
  Session targets(ending_at(dense, layer.node), options);
  Session inputs(ending_at(pruned, pruned.graph.node(layer.node).inputs.at(0)), options);
  const Pass pass(calibration, targets);
  int64_t done = 0;
  while (const Slot* slot = calibration.next()) {
    throw_if_interrupted();
    const std::span<const float> z = targets.run(*slot);
    moments.add(inputs.run(*slot), z, slot->count);
    done += slot->count;
    progress(done);
  }
  return done;
}

/// running_mean - bias: (z + b - mean) is (z - (mean - b)).
std::shared_ptr<Tensor> shifted_mean(const Model& model, const std::string& name, std::span<const float> bias,
                                     MemoryResource& resource) {
  auto mean = std::make_shared<Tensor>(model.parameter(name).clone(resource, name));
  const std::span<float> values = mean->f32();
  for (size_t c = 0; c < values.size(); ++c) values[c] = static_cast<float>(double{values[c]} - double{bias[c]});
  return mean;
}

void solve_layer(Model& model, const Model& pruned, const RefitLayer& layer, FitMoments& moments, double ridge,
                 MemoryResource& resource) {
  const std::string weight_name = layer.shape.name + ".weight";
  auto weight = std::make_shared<Tensor>(pruned.parameter(weight_name).clone(resource, weight_name));
  std::vector<float> bias(at(layer.shape.outputs), 0.0F);
  moments.solve(weight->f32(), bias, ridge);
  model.parameters[weight_name] = std::move(weight);
  if (layer.bias_node < 0) return;
  const std::string& holder = model.graph.node(layer.bias_node).name;
  if (layer.bias_node == layer.node) {
    auto tensor = std::make_shared<Tensor>(Shape{layer.shape.outputs}, DType::kF32, resource, holder + ".bias");
    std::copy(bias.begin(), bias.end(), tensor->f32().begin());
    model.parameters[holder + ".bias"] = std::move(tensor);
  } else {
    const std::string name = holder + ".running_mean";
    model.parameters[name] = shifted_mean(pruned, name, bias, resource);
  }
}

}  // namespace

RefitPlan plan_refit(const Model& dense, const Model& pruned, const PrunePlan& plan, int threads) {
  const Graph& graph = dense.graph;
  const size_t count = graph.nodes().size();
  ELEK_CHECK(pruned.graph.nodes().size() == count, "plan_refit: the pruned network has " +
                                                       std::to_string(pruned.graph.nodes().size()) + " nodes, the dense one " +
                                                       std::to_string(count));
  const ResolvedPlan resolved = resolve(dense, plan);
  std::vector<bool> differs(count, false);  // values that are not the dense network's
  RefitPlan made;
  for (ValueId id = 0; id < static_cast<ValueId>(count); ++id) {
    const Node& node = graph.node(id);
    ELEK_CHECK(
        pruned.graph.node(id).name == node.name && pruned.graph.node(id).shape.channels == std::ssize(resolved.keep[at(id)]),
        "plan_refit: '" + node.name + "' of the pruned network is not what the plan leaves of the dense one's");
    bool changed = false;
    for (const ValueId input : node.inputs) changed = changed || differs[at(input)];
    const bool layer = node.is<Conv2dAttrs>() || node.is<LinearAttrs>();
    const bool masked = layer && resolved.weights.contains(node.name);
    if (layer && (changed || masked)) made.layers.push_back(layer_of(dense, pruned, id, resolved.keep[at(id)]));
    differs[at(id)] = changed || masked || resolved.cuts(graph, id);
  }
  for (const RefitLayer& layer : made.layers) {
    const size_t bytes = FitMoments::bytes(layer.shape, layer.sparse, thread_count(threads));
    if (bytes > made.moments_bytes) {
      made.moments_bytes = bytes;
      made.moments_layer = layer.shape.name;
    }
    made.macs_an_image += static_cast<double>(macs_up_to(graph, layer.node)) + product_macs(layer.shape) +
                          static_cast<double>(macs_up_to(pruned.graph, pruned.graph.node(layer.node).inputs.at(0)));
  }
  made.dense_passes = made.macs_an_image / static_cast<double>(std::max<int64_t>(1, macs(graph)));
  return made;
}

Model refit(const Model& dense, const Model& pruned, const PrunePlan& plan, BatchSource& calibration, SessionOptions options,
            const Progress& progress, double ridge) {
  options.probes = {};
  options.batch_norm = BatchNorm::kFold;
  options.batch_moments = false;
  options.keep_values = false;
  const int threads = thread_count(options.threads);
  // Moments and parameters live on the host whatever device runs the networks.
  const bool on_host = options.memory != nullptr && options.memory->device() == Device{};
  MemoryResource& resource = on_host ? *options.memory : host_resource();
  const RefitPlan work = plan_refit(dense, pruned, plan, threads);
  Model model = pruned;
  const int64_t total = std::ssize(work.layers) * calibration.samples();
  int64_t before = 0;
  for (const RefitLayer& layer : work.layers) {
    FitMoments moments(layer.shape, layer.sparse, threads, resource);
    const int64_t samples = gather(dense, model, layer, calibration, options, moments, [&](int64_t done) {
      if (progress) progress(before + done, total);
    });
    if (samples == 0) throw InputError("refit: '" + calibration.description() + "' gave no sample");
    solve_layer(model, pruned, layer, moments, ridge, resource);
    before += samples;
  }
  return model;
}

}  // namespace elek
