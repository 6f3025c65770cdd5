// SPDX-License-Identifier: Apache-2.0
// Builds the steps from the fused graph, then the lifetimes. Tests: tests/train/program_test.cpp
#include "train/program.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/at.h"
#include "core/error.h"
#include "kernels/cpu/backward.h"
#include "kernels/cpu/vectors.h"

namespace elek::train {
namespace {

namespace cpu = kernels::cpu;

constexpr size_t kAlignFloats = 64;  // 256 bytes
size_t aligned(size_t floats) { return (floats + kAlignFloats - 1) / kAlignFloats * kAlignFloats; }
size_t floats_of(size_t bytes) { return aligned((bytes + sizeof(float) - 1) / sizeof(float)); }

/// The epilogue of a convolution can run the activation, and the backward step can undo it from y.
bool runs_inside(const Activation& activation) { return activation.is_clamp() && cpu::derivative_from_output(activation); }

class Builder {
 public:
  Builder(const Graph& graph, int64_t batch, int threads) : graph_(graph) {
    made_.batch = batch;
    made_.threads = threads;
    made_.layout = cpu::vector_lanes(16) == 16 ? Layout::kNChw16c : Layout::kNChw8c;
  }

  TrainProgram build() {
    const FusedGraph fused = fuse(graph_);
    value_of_[fused.input] = add_value(graph_.node(fused.input).name, graph_.input_shape());
    for (const FusedNode& node : fused.steps) add_steps(node);
    made_.output = value_of_.at(fused.output);
    ELEK_CHECK(!made_.layers.empty(), "training: the network has no layer with weights");
    mark_gradients();
    add_storages();
    return std::move(made_);
  }

 private:
  int32_t add_value(const std::string& name, const ImageShape& shape) {
    made_.values.push_back({name, shape});
    return static_cast<int32_t>(made_.values.size()) - 1;
  }
  TrainValue& value(int32_t index) { return made_.values[at(index)]; }

  /// The node's step; and a step for its activation, if that cannot run inside.
  void add_steps(const FusedNode& node) {
    const bool inside = runs_inside(node.activation);
    TrainStep step;
    step.node = node;
    step.x = value_of_.at(node.input);
    step.second = node.residual ? value_of_.at(*node.residual) : -1;
    for (const ValueId more : node.more) step.more.push_back(value_of_.at(more));
    step.add_more.resize(step.more.size());
    if (inside) step.activation = node.activation;
    const Node& stored = graph_.node(node.output);
    step.y = add_value(inside ? stored.name : stored.name + " before its activation", stored.shape);
    if (has_weights(node.node)) add_layer(step);
    if (inside) {
      value_of_[node.output] = step.y;
      made_.steps.push_back(std::move(step));
      return;
    }
    TrainStep after;
    after.node.node.name = stored.name;
    after.node.node.attrs = stored.attrs;  // the activation's node, which stores the value
    after.node.activation = node.activation;
    after.x = step.y;
    after.y = value_of_[node.output] = add_value(stored.name, stored.shape);
    made_.steps.push_back(std::move(step));
    made_.steps.push_back(std::move(after));
  }

  void add_layer(TrainStep& step) {
    const Conv2dAttrs attrs = as_convolution(step.node.node.attrs);
    const ImageShape in = value(step.x).shape, out = value(step.y).shape;
    TrainLayer layer;
    layer.step = static_cast<int32_t>(made_.steps.size());
    layer.weight = Shape{attrs.out_channels, in.channels / attrs.groups, attrs.kernel.height, attrs.kernel.width};
    layer.has_bias = attrs.bias || !step.node.batch_norm.empty();
    layer.plans = plans(attrs, in, out);
    layer.bias_floats = at(padded_channels(made_.layout, attrs.out_channels));
    layer.weight_at = made_.parameter_floats;
    layer.bias_at = layer.weight_at + aligned(at(layer.weight.elements()));
    made_.parameter_floats = layer.bias_at + aligned(layer.bias_floats);
    step.layer = static_cast<int32_t>(made_.layers.size());
    made_.layers.push_back(layer);
  }

  [[nodiscard]] ConvPlans plans(const Conv2dAttrs& a, const ImageShape& in, const ImageShape& out) const {
    ConvPlans p;
    p.conv = {a.groups, a.window()};
    if (a.groups > 1) return p;
    const int64_t samples = made_.batch;
    const Layout layout = made_.layout;
    const int threads = made_.threads;
    p.forward = DenseConv::plan(
        {samples, in.channels, out.channels, in.height, in.width, a.kernel, a.stride, a.padding, layout, threads, a.dilation});
    if (!p.forward) return p;
    p.weight_gradient = cpu::plan_weight_gradient({samples, in.channels, out.channels, in.height, in.width, a.kernel, a.stride,
                                                   a.padding, layout, threads, a.dilation})
                            .value();
    const Extent reach = a.window().reach();
    const Padding& pad = a.padding;
    const Padding turned{reach.height - 1 - pad.top, reach.width - 1 - pad.left, reach.height - 1 - pad.bottom,
                         reach.width - 1 - pad.right};
    if (std::min({turned.top, turned.left, turned.bottom, turned.right}) < 0) return p;
    p.spread = {out.channels, in.height + pad.top + pad.bottom - reach.height + 1,
                in.width + pad.left + pad.right - reach.width + 1};
    p.input_gradient = DenseConv::plan({samples, out.channels, in.channels, p.spread.height, p.spread.width, a.kernel, 1,
                                        turned, layout, threads, a.dilation});
    return p;
  }

  /// Which values need gradients, and which steps add to a gradient that is there already.
  void mark_gradients() {
    for (const TrainStep& step : made_.steps) {
      value(step.y).needs_gradient =
          step.layer >= 0 || value(step.x).needs_gradient || (step.second >= 0 && value(step.second).needs_gradient);
      for (const int32_t more : step.more) value(step.y).needs_gradient |= value(more).needs_gradient;
    }
    std::vector<bool> written(made_.values.size(), false);
    const auto adds = [&](int32_t index) {
      if (index < 0 || !value(index).needs_gradient) return false;
      const bool before = written[at(index)];
      written[at(index)] = true;
      return before;
    };
    for (size_t i = made_.steps.size(); i-- > 0;) {  // the order of the backward steps; each writes `second` first
      TrainStep& step = made_.steps[i];
      step.add_second = adds(step.second);
      step.add_x = adds(step.x);
      for (size_t m = 0; m < step.more.size(); ++m) step.add_more[m] = adds(step.more[m]);
    }
  }

  /// Whether a step's backward reads x, second and y.
  struct Reads {
    bool x = false, second = false, y = false;
  };
  [[nodiscard]] static Reads backward_reads(const TrainStep& step) {
    Reads reads;
    const Attrs& attrs = step.node.node.attrs;
    reads.y = !step.activation.is_none();
    reads.x = step.layer >= 0 || std::holds_alternative<MaxPoolAttrs>(attrs);
    if (std::holds_alternative<ChannelScaleAttrs>(attrs)) reads.x = reads.second = true;
    if (op_class(attrs) == OpClass::kActivation && step.layer < 0) {
      (cpu::derivative_from_output(activation_of(attrs)) ? reads.y : reads.x) = true;
    }
    return reads;
  }

  [[nodiscard]] size_t bytes_of(const ImageShape& shape) const {
    return at(made_.batch * padded_channels(made_.layout, shape.channels) * shape.positions()) * sizeof(float);
  }

  void add_storages() {
    const int32_t loss = made_.loss_time();
    struct Life {
      int32_t first, last, gradient_first, gradient_last;
    };
    std::vector<Life> lives(made_.values.size(), {0, 0, 2 * loss, 2 * loss});
    for (size_t i = 0; i < made_.steps.size(); ++i) {
      const TrainStep& step = made_.steps[i];
      const Reads reads = backward_reads(step);
      const int32_t forward = made_.forward_time(i), backward = made_.backward_time(i);
      const auto read = [&](int32_t index, bool again) {
        if (index < 0) return;
        Life& life = lives[at(index)];
        life.last = std::max({life.last, forward, again ? backward : forward});
        life.gradient_first = std::min(life.gradient_first, backward);
      };
      read(step.x, reads.x);
      read(step.second, reads.second);
      for (const int32_t more : step.more) read(more, false);
      Life& made = lives[at(step.y)];
      made.first = forward;
      made.last = std::max(made.last, reads.y ? backward : forward);
      made.gradient_last = backward;
    }
    Life& logits = lives[at(made_.output)];
    logits.last = std::max(logits.last, loss);
    logits.gradient_first = std::min(logits.gradient_first, loss);
    std::vector<Storage>& storages = made_.memory.storages;
    for (size_t v = 0; v < made_.values.size(); ++v) {
      TrainValue& now = made_.values[v];
      now.storage = static_cast<int32_t>(storages.size());
      storages.push_back({now.name, bytes_of(now.shape), lives[v].first, lives[v].last});
      if (!now.needs_gradient) continue;
      now.gradient_storage = static_cast<int32_t>(storages.size());
      storages.push_back({"gradient of " + now.name, bytes_of(now.shape), lives[v].gradient_first, lives[v].gradient_last});
    }
    add_workspaces();
  }

  void add_workspaces() {
    made_.memory.batch = made_.memory.micro_batch = made_.batch;
    made_.memory.steps.resize(at(2 * made_.loss_time()) + 1);
    for (size_t i = 0; i < made_.steps.size(); ++i) {
      const TrainStep& step = made_.steps[i];
      ProgramStep& forward = made_.memory.steps[at(made_.forward_time(i))];
      ProgramStep& backward = made_.memory.steps[at(made_.backward_time(i))];
      forward.node = backward.node = step.node;
      if (step.layer < 0) continue;
      const ConvPlans& p = made_.layers[at(step.layer)].plans;
      if (p.forward) forward.workspace_bytes = workspace_of(*p.forward).end * sizeof(float);
      if (p.weight_gradient) backward.workspace_bytes = p.weight_gradient->scratch_bytes;
      if (p.input_gradient && value(step.x).needs_gradient) {
        backward.workspace_bytes = std::max(backward.workspace_bytes, input_workspace(p, made_.batch).end * sizeof(float));
      }
    }
  }

  const Graph& graph_;
  TrainProgram made_;
  std::map<ValueId, int32_t> value_of_;
};

}  // namespace

std::vector<int32_t> TrainStep::inputs() const {
  std::vector<int32_t> all{x};
  if (second >= 0) all.push_back(second);
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

Workspace workspace_of(const DenseConv& conv) {
  Workspace w;
  w.scratch = floats_of(conv.packed_bytes());
  w.end = w.scratch + floats_of(conv.scratch_bytes());
  return w;
}

InputWorkspace input_workspace(const ConvPlans& plans, int64_t samples) {
  const DenseConv& conv = *plans.input_gradient;
  const kernels::cpu::GemmConvProblem& p = conv.problem();
  InputWorkspace w;
  w.scratch = floats_of(conv.packed_bytes());
  w.flipped = w.scratch + floats_of(conv.scratch_bytes());
  w.bias = w.flipped + aligned(at(p.channels * p.out_channels * p.kernel.area()));
  w.spread = w.bias + aligned(at(padded_channels(p.layout, p.out_channels)));
  w.end = w.spread;
  if (plans.conv.window.stride != Extent(1))
    w.end += aligned(at(samples * padded_channels(p.layout, p.channels) * plans.spread.positions()));
  return w;
}

TrainProgram make_train_program(const Graph& graph, int64_t batch, int threads) {
  ELEK_CHECK(batch > 0 && threads > 0,
             "training: batch " + std::to_string(batch) + " and threads " + std::to_string(threads) + ", expected at least 1");
  return Builder(graph, batch, threads).build();
}

}  // namespace elek::train
