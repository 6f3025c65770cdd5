// SPDX-License-Identifier: Apache-2.0
// Fusion and folding. A convolution or linear layer is joined with the nodes after it, as long as no other node reads the value
// in between: batch norm, then a residual sum, then an activation. A node that is not joined is a step of its own.
// Steps run in the order of the values they store. This order is legal: a step reads only values made before the node that it
// stores. A block's sum is joined to the producer that can run last (the projection), so its result can overwrite the other
// producer's, and the projection's result never waits in memory beside the main path.
// Tests: tests/unit/passes_test.cpp
#include "graph/passes.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "core/error.h"

namespace elek {
namespace {

/// The nodes that the output needs, and how often they read each value.
class Liveness {
 public:
  explicit Liveness(const Graph& graph) : graph_(graph), reads_(graph.nodes().size(), 0) {
    needed_ = ancestors(graph.output());
    for (size_t i = 0; i < needed_.size(); ++i) {
      if (needed_[i]) {
        for (const ValueId input : graph.nodes()[i].inputs) {
          ++reads_[static_cast<size_t>(input)];
        }
      }
    }
  }
  [[nodiscard]] bool needed(ValueId value) const { return needed_[static_cast<size_t>(value)]; }

  /// The only live node that reads the value, if there is exactly one and it reads it once; otherwise -1. The output has none:
  /// nodes that read it are not needed.
  [[nodiscard]] ValueId only_reader(ValueId value) const {
    if (reads_[static_cast<size_t>(value)] != 1) {
      return -1;
    }
    for (const ValueId reader : graph_.consumers(value)) {
      if (needed(reader)) {
        return reader;
      }
    }
    return -1;
  }

  /// The nodes from which `value` is computed, itself included.
  [[nodiscard]] std::vector<bool> ancestors(ValueId value) const {
    std::vector<bool> found(graph_.nodes().size(), false);
    found[static_cast<size_t>(value)] = true;
    for (size_t i = static_cast<size_t>(value) + 1; i-- > 0;) {  // inputs come before their readers
      if (found[i]) {
        for (const ValueId input : graph_.nodes()[i].inputs) {
          found[static_cast<size_t>(input)] = true;
        }
      }
    }
    return found;
  }

 private:
  const Graph& graph_;
  std::vector<bool> needed_;
  std::vector<int> reads_;
};

/// A step for node `value` alone. If it has a second input, that is the step's residual; `more` are those after it.
FusedNode single_step(const Graph& graph, ValueId value) {
  const Node& node = graph.node(value);
  FusedNode step;
  step.node = node;
  step.input = node.inputs.at(0);
  if (node.inputs.size() > 1) step.residual = node.inputs[1];
  if (node.inputs.size() > 2) step.more.assign(node.inputs.begin() + 2, node.inputs.end());
  step.preactivation = value;
  step.output = value;
  return step;
}

using Ranks = std::map<std::string, size_t>;  // position of each node in the order that was asked for; empty if none was

/// Among the steps that end in an input of `add` which nothing else reads: the one to run last. If an order was asked for, the
/// later one in it. Otherwise the one with the fewest ancestors (a projection reads the block's input, the main path a value
/// made from it); if equal, the later one.
FusedNode* producer_to_draw_into(const Liveness& live, ValueId add, const Node& node, const Ranks& ranks,
                                 std::map<ValueId, FusedNode>& by_output) {
  FusedNode* chosen = nullptr;
  int64_t chosen_length = 0;
  for (const ValueId input : node.inputs) {
    const auto found = by_output.find(input);
    if (found == by_output.end() || !has_weights(found->second.node) || !found->second.activation.is_none() ||
        found->second.residual || live.only_reader(input) != add) {
      continue;
    }
    const std::vector<bool> history = live.ancestors(input);
    const auto rank = ranks.find(found->second.node.name);
    const int64_t length =
        rank != ranks.end() ? -static_cast<int64_t>(rank->second) : std::count(history.begin(), history.end(), true);
    if (chosen == nullptr || length < chosen_length || (length == chosen_length && input > chosen->output)) {
      chosen = &found->second;
      chosen_length = length;
    }
  }
  return chosen;
}

/// Joins node `value` to the step that makes its input; false if it must stay alone.
bool draw_in(const Graph& graph, const Liveness& live, ValueId value, const Ranks& ranks,
             std::map<ValueId, FusedNode>& by_output) {
  const Node& node = graph.node(value);
  FusedNode* into = nullptr;
  if (node.is<AddAttrs>()) {
    into = producer_to_draw_into(live, value, node, ranks, by_output);
    if (into != nullptr) {
      into->residual = node.inputs[0] == into->output ? node.inputs[1] : node.inputs[0];
    }
  } else if (node.is<BatchNormAttrs>() || op_class(node) == OpClass::kActivation) {
    const auto found = by_output.find(node.inputs.at(0));
    if (found != by_output.end() && has_weights(found->second.node) && live.only_reader(found->first) == value &&
        found->second.activation.is_none()) {
      FusedNode& step = found->second;
      if (op_class(node) == OpClass::kActivation) {
        step.activation = activation_of(node.attrs);
        into = &step;
      } else if (step.node.is<Conv2dAttrs>() && step.output == step.preactivation && step.batch_norm.empty()) {
        step.batch_norm = node.name;
        step.preactivation = value;
        into = &step;
      }
    }
  }
  if (into == nullptr) {
    return false;
  }
  auto entry = by_output.extract(into->output);
  entry.key() = value;
  entry.mapped().output = value;
  by_output.insert(std::move(entry));
  return true;
}

/// Writes w * scale[k] and (bias[k] - mean[k]) * scale[k] + beta[k], scale = gamma / sqrt(var + eps), all in double.
void fold(const Model& model, const FusedNode& step, ConvWeights& made) {
  const double eps = model.graph.node(model.graph.at(step.batch_norm)).as<BatchNormAttrs>().eps;
  const std::span<const float> gamma = model.parameter(step.batch_norm + ".weight").f32();
  const std::span<const float> beta = model.parameter(step.batch_norm + ".bias").f32();
  const std::span<const float> mean = model.parameter(step.batch_norm + ".running_mean").f32();
  const std::span<const float> variance = model.parameter(step.batch_norm + ".running_var").f32();
  const std::span<float> weight = made.weight.f32();
  const std::span<float> bias = made.bias.f32();
  ELEK_CHECK(
      gamma.size() == bias.size() && beta.size() == bias.size() && mean.size() == bias.size() && variance.size() == bias.size(),
      "batch_norm '" + step.batch_norm + "': expected " + std::to_string(bias.size()) + " channels, as many as '" +
          step.node.name + "' has, got " + std::to_string(gamma.size()));
  const size_t row = weight.size() / bias.size();
  for (size_t k = 0; k < bias.size(); ++k) {
    const double scale = double{gamma[k]} / std::sqrt(double{variance[k]} + eps);
    for (size_t i = k * row; i < (k + 1) * row; ++i) {
      weight[i] = static_cast<float>(double{weight[i]} * scale);
    }
    bias[k] = static_cast<float>((double{bias[k]} - double{mean[k]}) * scale + double{beta[k]});
  }
}

void sort_steps(const Graph& graph, const Ranks& ranks, FusedGraph& fused) {
  for (const FusedNode& step : fused.steps) {
    ELEK_CHECK(ranks.contains(step.node.name), "order of steps: '" + step.node.name + "' is missing");
  }
  std::sort(fused.steps.begin(), fused.steps.end(),
            [&](const FusedNode& a, const FusedNode& b) { return ranks.at(a.node.name) < ranks.at(b.node.name); });
  std::set<ValueId> there{fused.input};
  for (const FusedNode& step : fused.steps) {
    std::vector<ValueId> reads{step.input, step.residual.value_or(step.input)};
    reads.insert(reads.end(), step.more.begin(), step.more.end());
    for (const ValueId read : reads) {
      ELEK_CHECK(there.contains(read),
                 "order of steps: '" + step.node.name + "' reads '" + graph.node(read).name + "', which no earlier step makes");
    }
    there.insert(step.output);
  }
}

}  // namespace

FusedGraph fuse(const Graph& graph, std::span<const std::string> order) {
  const Liveness live(graph);
  Ranks ranks;
  for (const std::string& name : order) ranks.emplace(name, ranks.size());
  std::map<ValueId, FusedNode> by_output;
  for (ValueId value = 0; value < static_cast<ValueId>(graph.nodes().size()); ++value) {
    if (live.needed(value) && !graph.node(value).is<InputAttrs>() && !draw_in(graph, live, value, ranks, by_output)) {
      by_output.emplace(value, single_step(graph, value));
    }
  }
  FusedGraph fused;
  (void)graph.input_shape();  // checks that there is an input, which is value 0
  fused.input = 0;
  fused.output = graph.output();
  for (auto& [output, step] : by_output) {
    fused.steps.push_back(std::move(step));
  }
  if (!ranks.empty()) sort_steps(graph, ranks, fused);
  return fused;
}

ConvWeights conv_weights(const Model& model, const FusedNode& step, BatchNorm batch_norm, MemoryResource& resource) {
  const std::string& name = step.node.name;
  ELEK_CHECK(has_weights(step.node), std::string(op_name(step.node)) + " '" + name + "' has no weights");
  const Tensor& weight = model.parameter(name + ".weight");
  ConvWeights made;
  made.weight = weight.clone(resource, {name + ".weight", Use::kModel});
  made.bias = Tensor(Shape{step.node.shape.channels}, DType::kF32, resource, {name + ".bias", Use::kModel});
  const std::span<float> bias = made.bias.f32();
  if (as_convolution(step.node.attrs).bias) {
    const std::span<const float> stored = model.parameter(name + ".bias").f32();
    ELEK_CHECK(stored.size() == bias.size(), "'" + name + ".bias': expected " + std::to_string(bias.size()) +
                                                 " elements, got " + std::to_string(stored.size()));
    std::copy(stored.begin(), stored.end(), bias.begin());
  } else {
    std::fill(bias.begin(), bias.end(), 0.0F);
  }
  ELEK_CHECK(weight.shape()[0] == step.node.shape.channels, "'" + name + ".weight': expected " +
                                                                std::to_string(step.node.shape.channels) + " rows, got " +
                                                                to_string(weight.shape()));
  if (batch_norm == BatchNorm::kFold && !step.batch_norm.empty()) {
    fold(model, step, made);
  }
  return made;
}

void normalisation(const Model& model, const std::string& batch_norm, int64_t channels, float* scale, float* shift) {
  const double eps = model.graph.node(model.graph.at(batch_norm)).as<BatchNormAttrs>().eps;
  const auto of = [&](const char* suffix) {
    const std::span<const float> values = model.parameter(batch_norm + suffix).f32();
    ELEK_CHECK(std::ssize(values) == channels, "'" + batch_norm + suffix + "': expected " + std::to_string(channels) +
                                                   " elements, got " + std::to_string(values.size()));
    return values;
  };
  const auto gamma = of(".weight"), beta = of(".bias"), mean = of(".running_mean"), variance = of(".running_var");
  for (size_t c = 0; c < gamma.size(); ++c) {
    const double s = double{gamma[c]} / std::sqrt(double{variance[c]} + eps);
    scale[c] = static_cast<float>(s);
    shift[c] = static_cast<float>(double{beta[c]} - double{mean[c]} * s);
  }
}

}  // namespace elek
