// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/quantization_test.cpp
#include "graph/integer_values.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>

#include "core/error.h"

namespace elek {
namespace {

/// How far a weight divided by its scale may be from an integer: both are f32, so the quotient of q * scale is within 2^-22 of
/// q, which is below 1e-4 for q up to 127.
constexpr double kNearInteger = 1e-3;

bool is_usable(float scale) { return std::isfinite(scale) && scale > 0; }

/// The quotient if it is an integer in -127 … 127, else nothing.
std::optional<int8_t> as_weight(float weight, float scale) {
  const double exact = double{weight} / double{scale};
  const double nearest = std::nearbyint(exact);
  if (!(std::fabs(exact - nearest) <= kNearInteger) || std::fabs(nearest) > kLargestWeight) return std::nullopt;
  return static_cast<int8_t>(nearest);
}

void validate_layer(const Model& model, const FusedNode& step, const std::vector<float>& scales, const std::string& where) {
  const std::string& name = step.node.name;
  const std::string who = where + ": quantised layer '" + name + "': ";
  if (const std::string why = why_not_quantised(step); !why.empty()) throw InputError(who + why);
  if (!step.batch_norm.empty()) throw InputError(who + "its batch norm '" + step.batch_norm + "' is not folded");
  if (std::ssize(scales) != step.node.shape.channels || !std::all_of(scales.begin(), scales.end(), is_usable)) {
    throw InputError(who + "expected " + std::to_string(step.node.shape.channels) + " finite positive scales, found " +
                     std::to_string(scales.size()) + ", or one that is not; the file is damaged");
  }
  const std::span<const float> weights = model.parameter(name + ".weight").f32();
  const size_t row = weights.size() / scales.size();
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!as_weight(weights[i], scales[i / row])) {
      throw InputError(who + "expected weights that are integers -127 … 127 times the channel's scale, found " +
                       std::to_string(weights[i]) + " for scale " + std::to_string(scales[i / row]) + " at element " +
                       std::to_string(i) + "; quantise the model again");
    }
  }
  const std::string& read = model.graph.node(step.input).name;
  if (!model.quantization.values.contains(read)) {
    throw InputError(who + "its input '" + read + "' has no scale; quantise the model again");
  }
}

}  // namespace

std::string why_not_quantised(const FusedNode& step) {
  if (!step.node.is<Conv2dAttrs>()) return "is a " + std::string(op_name(step.node)) + "; only convolutions are quantised";
  if (step.node.as<Conv2dAttrs>().groups != 1) return "a convolution in groups is not quantised";
  if (!step.activation.is_clamp()) return "its activation does not clamp";
  return {};
}

std::map<ValueId, IntegerGrid> integer_values(const Graph& graph, const FusedGraph& fused, const Quantization& quantization) {
  std::map<ValueId, IntegerGrid> made;
  for (const FusedNode& step : fused.steps) {
    const auto grid = quantization.values.find(graph.node(step.output).name);
    if (grid == quantization.values.end()) continue;
    const bool rounds = quantization.layers.contains(step.node.name);
    const bool passes_on = step.node.is<MaxPoolAttrs>() || step.node.is<ChannelMapAttrs>();
    const auto read = made.find(step.input);
    if (rounds || (passes_on && read != made.end() && read->second == grid->second)) made.emplace(step.output, grid->second);
  }
  return made;
}

void to_integers(const std::string& layer, std::span<const float> weights, std::span<const float> scales,
                 std::span<int8_t> integers) {
  ELEK_CHECK(!scales.empty() && weights.size() % scales.size() == 0 && integers.size() == weights.size(),
             "layer '" + layer + "': expected one scale per channel and one integer per weight");
  const size_t row = weights.size() / scales.size();
  for (size_t i = 0; i < weights.size(); ++i) {
    const std::optional<int8_t> q = as_weight(weights[i], scales[i / row]);
    ELEK_CHECK(q, "layer '" + layer + "': weight " + std::to_string(i) + " is no longer an integer times its scale");
    integers[i] = *q;
  }
}

float on_grid(float value, const IntegerGrid& grid) {
  const float steps = std::nearbyint(value * (1.0F / grid.scale));
  const auto lowest = static_cast<float>(grid.lowest()), highest = static_cast<float>(grid.highest());
  const float clamped = steps > lowest ? std::min(steps, highest) : lowest;  // NaN is not larger
  return clamped * grid.scale;
}

void require_f32_weights(const Model& model, const std::string& what) {
  if (model.quantization.empty()) return;
  throw UsageError(what +
                   ": the network is quantised, and its weights would be no integers any more; start from the network that "
                   "was quantised");
}

void validate_quantization(const Model& model, const std::string& where) {
  const Quantization& q = model.quantization;
  if (q.empty()) return;
  for (const auto& [name, grid] : q.values) {
    if (model.graph.find(name) < 0) {
      throw InputError(where + ": scale of value '" + name + "': the network has no such value; the file is damaged");
    }
    if (!is_usable(grid.scale)) {
      throw InputError(where + ": scale of value '" + name + "': expected a finite positive number, found " +
                       std::to_string(grid.scale) + "; the file is damaged");
    }
  }
  const FusedGraph fused = fuse(model.graph);
  for (const auto& layer : q.layers) {
    const std::string& name = layer.first;
    const auto step =
        std::find_if(fused.steps.begin(), fused.steps.end(), [&](const FusedNode& each) { return each.node.name == name; });
    if (step == fused.steps.end()) {
      throw InputError(where + ": quantised layer '" + name + "': the network has no such layer; the file is damaged");
    }
    validate_layer(model, *step, layer.second, where);
  }
}

Model fold_batch_norms(const Model& model) {
  Model made = model;
  made.graph = Graph();
  std::map<ValueId, const FusedNode*> folded;  // by the batch norm that disappears
  std::map<std::string, const FusedNode*> with_bias;
  const FusedGraph fused = fuse(model.graph);
  for (const FusedNode& step : fused.steps) {
    if (step.batch_norm.empty()) continue;
    folded.emplace(model.graph.at(step.batch_norm), &step);
    with_bias.emplace(step.node.name, &step);
  }
  std::map<ValueId, ValueId> renumbered;
  for (ValueId value = 0; value < static_cast<ValueId>(model.graph.nodes().size()); ++value) {
    const Node& node = model.graph.node(value);
    if (folded.contains(value)) {
      renumbered[value] = renumbered.at(node.inputs.at(0));
      continue;
    }
    Attrs attrs = node.attrs;
    if (with_bias.contains(node.name)) std::get<Conv2dAttrs>(attrs).bias = true;
    std::vector<ValueId> inputs;
    for (const ValueId input : node.inputs) inputs.push_back(renumbered.at(input));
    renumbered[value] = made.graph.add(node.name, std::move(attrs), std::move(inputs));
  }
  made.graph.set_output(renumbered.at(model.graph.output()));
  for (const auto& [value, step] : folded) {
    ConvWeights w = conv_weights(model, *step, BatchNorm::kFold, host_resource());
    for (const char* suffix : {".weight", ".bias", ".running_mean", ".running_var"}) {
      made.parameters.erase(step->batch_norm + suffix);
    }
    made.parameters[step->node.name + ".weight"] = std::make_shared<const Tensor>(std::move(w.weight));
    made.parameters[step->node.name + ".bias"] = std::make_shared<const Tensor>(std::move(w.bias));
  }
  return made;
}

}  // namespace elek
