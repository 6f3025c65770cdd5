// SPDX-License-Identifier: Apache-2.0
// Activations, sums, and scales. A number per channel that is multiplied or added goes into the layer before it, into the
// preprocessing if it stands at the input, or else becomes a 1x1 depthwise convolution. It never becomes a batch norm: elek
// would take that for a trained one and might measure new statistics for it.
// Tests: tests/models/onnx_import_test.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "models/onnx/importer.h"
#include "models/onnx/patterns.h"

namespace elek::onnx {

Value Importer::activate(const NodeProto& node, Attrs attrs) {
  const Activation from = activation(node, 0);
  return make(node, node.outputs.front(), std::move(attrs), {from.value}, from.axes);
}

Value Importer::relu(const NodeProto& node) { return activate(node, ReluAttrs{}); }
Value Importer::sigmoid(const NodeProto& node) { return activate(node, SigmoidAttrs{}); }
Value Importer::hard_swish(const NodeProto& node) { return activate(node, HardSwishAttrs{}); }
Value Importer::silu(const NodeProto& node) {
  if (node.real("alpha", 1) != 1) throw Unsupported{"with an alpha other than 1"};
  return activate(node, SiluAttrs{});
}
Value Importer::leaky_relu(const NodeProto& node) { return activate(node, LeakyReluAttrs{decimal(node.real("alpha", 0.01F))}); }

Value Importer::prelu(const NodeProto& node) {
  const std::vector<float> slopes = tensors_.read(constant(node, 1));
  const bool one = !slopes.empty() && std::all_of(slopes.begin(), slopes.end(), [&](float each) { return each == slopes[0]; });
  if (!one) throw Unsupported{"with a slope for each channel"};
  return activate(node, LeakyReluAttrs{decimal(slopes[0])});
}

Value Importer::clipped(const NodeProto& node, const Activation& from, double low, double high) {
  constexpr double kMost = std::numeric_limits<float>::max();
  if (!(low <= high)) throw Unsupported{"from " + std::to_string(low) + " to " + std::to_string(high)};
  if (low <= -kMost && high >= kMost) return renamed(node, from, from.axes);
  Attrs attrs = ClipAttrs{std::max(low, -kMost), std::min(high, kMost)};
  if (low == 0 && high >= kMost) attrs = ReluAttrs{};
  return make(node, node.outputs.front(), std::move(attrs), {from.value}, from.axes);
}

Value Importer::clip(const NodeProto& node) {
  constexpr float kMost = std::numeric_limits<float>::max();
  const float low = number(node, "min", 1).value_or(-kMost);
  const float high = number(node, "max", 2).value_or(kMost);
  return clipped(node, activation(node, 0), decimal(low), decimal(high));
}

Value Importer::max_or_min(const NodeProto& node) {
  if (node.inputs.size() != 2) throw Unsupported{"of " + std::to_string(node.inputs.size()) + " values"};
  const size_t other = is_activation(node, 0) ? 1 : 0;
  const Constant bound = constant(node, other);
  if (bound.elements() != 1) throw Unsupported{"with other than one number"};
  const double value = decimal(tensors_.read(bound).front());
  constexpr double kMost = std::numeric_limits<float>::max();
  const bool is_max = node.op == "Max";
  return clipped(node, activation(node, 1 - other), is_max ? value : -kMost, is_max ? kMost : value);
}

/// clip(alpha * x + beta, 0, 1)
Value Importer::hard_sigmoid(const NodeProto& node) {
  const Activation from = activation(node, 0);
  const auto channels = static_cast<size_t>(network_.shape(from.value).channels);
  const Affine change{std::vector<double>(channels, node.real("alpha", 0.2F)),
                      std::vector<double>(channels, node.real("beta", 0.5F))};
  return clipped(node, std::get<Activation>(affine(node, from, change)), 0, 1);
}

std::vector<double> Importer::per_channel(const Constant& from, const Activation& to) const {
  const ImageShape& shape = network_.shape(to.value);
  const std::vector<float> values = tensors_.read(from);
  const auto channels = static_cast<size_t>(shape.channels);
  if (values.size() == 1) return std::vector<double>(channels, static_cast<double>(values[0]));
  if (from.shape.size() > to.axes.size()) throw Unsupported{"with a constant of more dimensions than its other input"};
  std::optional<std::vector<int32_t>> order;
  for (size_t i = 0; i < from.shape.size(); ++i) {
    if (from.shape[i] == 1) continue;
    const Axis& axis = to.axes[to.axes.size() - from.shape.size() + i];
    if (!order) order = channels_of(axis, shape);
    if (!order || order->size() != values.size())
      throw Unsupported{"with a constant that is not one number, or one for each channel"};
  }
  std::vector<double> made(channels);
  for (size_t i = 0; i < channels; ++i) made[static_cast<size_t>(order->at(i))] = static_cast<double>(values[i]);
  return made;
}

Value Importer::affine(const NodeProto& node, const Activation& from, const Affine& change) {
  const auto all = [](const std::vector<double>& values, double wanted) {
    return std::all_of(values.begin(), values.end(), [&](double each) { return each == wanted; });
  };
  if (all(change.scale, 1) && all(change.shift, 0)) return renamed(node, from, from.axes);
  const ImageShape shape = network_.shape(from.value);
  const bool positive =
      std::all_of(change.scale.begin(), change.scale.end(), [](double each) { return each > 0 && std::isfinite(each); });
  const bool at_input = network_.node(from.value).is<InputAttrs>() && from.alone && positive;
  if (at_input && !options_.preprocessing_is_given && !file_.metadata.contains("elek.mean")) {
    if (!input_affine_)
      input_affine_ = Affine{std::vector<double>(change.scale.size(), 1.0), std::vector<double>(change.scale.size(), 0.0)};
    for (size_t c = 0; c < change.scale.size(); ++c) {
      input_affine_->scale[c] *= change.scale[c];
      input_affine_->shift[c] = input_affine_->shift[c] * change.scale[c] + change.shift[c];
    }
    return renamed(node, from, from.axes);
  }
  if (from.alone && network_.absorb(from.value, change)) return renamed(node, from, from.axes);
  Conv2dAttrs attrs;
  attrs.out_channels = attrs.groups = shape.channels;
  attrs.bias = true;
  Value made = make(node, node.outputs.front(), attrs, {from.value}, from.axes);
  const ValueId value = std::get<Activation>(made).value;
  const auto to_f32 = [](double each) { return static_cast<float>(each); };
  const std::span<float> weight = parameter(value, ".weight", Shape{shape.channels, 1, 1, 1});
  std::transform(change.scale.begin(), change.scale.end(), weight.begin(), to_f32);
  const std::span<float> bias = parameter(value, ".bias", Shape{shape.channels});
  std::transform(change.shift.begin(), change.shift.end(), bias.begin(), to_f32);
  return made;
}

Value Importer::sum_of(const NodeProto& node, const Activation& one, const Activation& other, const std::string& name) {
  if (one.axes != other.axes || network_.shape(one.value) != network_.shape(other.value)) {
    throw Unsupported{"of values of different shapes: " + to_string(network_.shape(one.value)) + " and " +
                      to_string(network_.shape(other.value))};
  }
  return make(node, name, AddAttrs{}, {one.value, other.value}, one.axes);
}

Value Importer::add(const NodeProto& node) {
  if (is_activation(node, 0) && is_activation(node, 1))
    return sum_of(node, activation(node, 0), activation(node, 1), node.outputs.front());
  if (!is_activation(node, 0) && !is_activation(node, 1)) return arithmetic(node);
  const size_t other = is_activation(node, 0) ? 1 : 0;
  const Activation from = activation(node, 1 - other);
  Affine change{{}, per_channel(constant(node, other), from)};
  change.scale.assign(change.shift.size(), 1.0);
  return affine(node, from, change);
}

Value Importer::sum(const NodeProto& node) {
  if (node.inputs.size() == 2) return add(node);
  Activation total = activation(node, 0);
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    const bool last = i + 1 == node.inputs.size();
    total = std::get<Activation>(
        sum_of(node, total, activation(node, i), node.outputs.front() + (last ? "" : "/" + std::to_string(i))));
  }
  return renamed(node, total, total.axes);
}

Value Importer::subtract(const NodeProto& node) {
  if (!is_activation(node, 0) && !is_activation(node, 1)) return arithmetic(node);
  const size_t other = is_activation(node, 0) ? 1 : 0;
  const Activation from = activation(node, 1 - other);
  Affine change{{}, per_channel(constant(node, other), from)};
  change.scale.assign(change.shift.size(), other == 1 ? 1.0 : -1.0);
  if (other == 1) {
    for (double& each : change.shift) each = -each;
  }
  return affine(node, from, change);
}

/// x times one factor for each channel (squeeze and excitation).
Value Importer::scaled(const NodeProto& node, Activation x, Activation factors) {
  if (network_.shape(x.value).positions() == 1 && network_.shape(factors.value).positions() != 1) std::swap(x, factors);
  const ImageShape shape = network_.shape(x.value);
  const ImageShape wanted{shape.channels, 1, 1};
  if (network_.shape(factors.value) != wanted || factors.axes.size() != x.axes.size()) {
    throw Unsupported{"of " + to_string(shape) + " and " + to_string(network_.shape(factors.value))};
  }
  for (size_t i = 0; i < x.axes.size(); ++i) {
    if (has(x.axes[i], Dim::kChannel) ? factors.axes[i] != x.axes[i] : !is_batch(x.axes[i]) && !factors.axes[i].empty()) {
      throw Unsupported{"of values whose channels are not in the same place"};
    }
  }
  return make(node, node.outputs.front(), ChannelScaleAttrs{}, {x.value, factors.value}, x.axes);
}

Value Importer::multiply(const NodeProto& node) {
  if (is_activation(node, 0) && is_activation(node, 1)) return scaled(node, activation(node, 0), activation(node, 1));
  if (!is_activation(node, 0) && !is_activation(node, 1)) return arithmetic(node);
  const size_t other = is_activation(node, 0) ? 1 : 0;
  const Activation from = activation(node, 1 - other);
  Affine change{per_channel(constant(node, other), from), {}};
  change.shift.assign(change.scale.size(), 0.0);
  return affine(node, from, change);
}

Value Importer::divide(const NodeProto& node) {
  if (!is_activation(node, 0) && !is_activation(node, 1)) return arithmetic(node);
  const Activation from = activation(node, 0);
  Affine change{per_channel(constant(node, 1), from), {}};
  for (double& each : change.scale) each = 1.0 / each;
  change.shift.assign(change.scale.size(), 0.0);
  return affine(node, from, change);
}

bool Importer::leads_only_to_output(const std::string& name) const {
  static const std::set<std::string_view> kKeepOrder = {"Identity", "Flatten", "Reshape", "Squeeze", "Cast"};
  std::set<std::string_view> seen{name};
  for (std::string_view value = name; value != output_name_;) {
    const auto readers = readers_.find(value);
    if (readers == readers_.end() || readers->second.size() != 1) return false;
    const NodeProto& node = nodes_[readers->second.front()];
    if (!kKeepOrder.contains(node.op) || node.outputs.empty() || !seen.insert(node.outputs.front()).second) return false;
    value = node.outputs.front();
  }
  return !readers_.contains(output_name_);
}

Value Importer::last_softmax(const NodeProto& node) {
  const Activation from = activation(node, 0);
  if (!leads_only_to_output(node.outputs.front())) throw Unsupported{"not at the end of the network"};
  note("the " + node.op + " at the end is left out: the output is logits");
  return renamed(node, from, from.axes);
}

}  // namespace elek::onnx
