// SPDX-License-Identifier: Apache-2.0
#include "models/onnx/network.h"

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "models/text.h"

namespace elek::onnx {
namespace {

// Far above any known CNN. They bound the time and memory that hostile files take.
constexpr size_t kMostNodes = 4096;
constexpr size_t kMostMapChannels = size_t{1} << 22;

/// A contract error's text without its place in elek's source. Such an error is the caller's mistake elsewhere; here it is the
/// file's.
std::string reason(const ContractError& error) {
  const std::string text = error.what();
  return text.substr(0, text.rfind(" ["));
}

}  // namespace

std::string Network::unique(const std::string& name) {
  const std::string wanted = name.empty() ? "value" : name;
  std::string made = wanted;
  while (!names_.insert(made).second) made = wanted + "_" + std::to_string(++next_number_[wanted] + 1);
  return made;
}

void Network::count_map(const ChannelMapAttrs& map) {
  map_channels_ += map.source.size();
  if (map_channels_ > kMostMapChannels) throw InputError(where_ + ": the network chooses channels more often than elek allows");
}

bool Network::is_never_negative(ValueId value) const {
  const Node* from = &node(value);
  while (from->is<MaxPoolAttrs>() || from->is<ChannelMapAttrs>() || from->is<AvgPoolAttrs>()) from = &node(from->inputs[0]);
  return from->is<ReluAttrs>() || from->is<SigmoidAttrs>() || (from->is<ClipAttrs>() && from->as<ClipAttrs>().low >= 0);
}

ValueId Network::add(const std::string& name, Attrs attrs, std::vector<ValueId> inputs) {
  if (nodes_.size() == kMostNodes) {
    throw InputError(where_ + ": the network has more than " + std::to_string(kMostNodes) + " nodes, which elek does not run");
  }
  if (const auto* map = std::get_if<ChannelMapAttrs>(&attrs)) count_map(*map);
  std::vector<ImageShape> shapes;
  shapes.reserve(inputs.size());
  for (const ValueId input : inputs) shapes.push_back(shape(input));
  Node made{unique(name), std::move(attrs), std::move(inputs), {}};
  try {
    made.shape = infer_shape(made.name, made.attrs, shapes);
  } catch (const ContractError& error) {
    throw InputError(where_ + ": " + reason(error));
  }
  nodes_.push_back(std::move(made));
  return static_cast<ValueId>(nodes_.size()) - 1;
}

std::span<float> Network::add_parameter(ValueId value, std::string_view suffix, const Shape& shape) {
  const std::string name = node(value).name + std::string(suffix);
  auto tensor = std::make_shared<Tensor>(shape, DType::kF32, resource_, BlockLabel(name, Use::kModel));
  const std::span<float> values = tensor->f32();
  parameters_[name] = std::move(tensor);
  return values;
}

bool Network::absorb(ValueId value, const Affine& affine) {
  Node& made = nodes_.at(static_cast<size_t>(value));
  const auto scale_rows = [&](std::span<float> rows) {
    const size_t row = rows.size() / affine.scale.size();
    for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(static_cast<double>(rows[i]) * affine.scale[i / row]);
  };
  const auto shift_bias = [&](std::span<float> bias) {
    for (size_t c = 0; c < bias.size(); ++c)
      bias[c] = static_cast<float>(static_cast<double>(bias[c]) * affine.scale[c] + affine.shift[c]);
  };
  if (made.is<BatchNormAttrs>()) {
    scale_rows(parameter(made.name + ".weight"));
    shift_bias(parameter(made.name + ".bias"));
    return true;
  }
  if (!has_weights(made)) return false;
  scale_rows(parameter(made.name + ".weight"));
  bool& bias = made.is<Conv2dAttrs>() ? std::get<Conv2dAttrs>(made.attrs).bias : std::get<LinearAttrs>(made.attrs).bias;
  if (!bias) {
    if (std::all_of(affine.shift.begin(), affine.shift.end(), [](double each) { return each == 0; })) return true;
    bias = true;
    const std::span<float> zeros = add_parameter(value, ".bias", Shape{made.shape.channels});
    std::fill(zeros.begin(), zeros.end(), 0.0F);
  }
  shift_bias(parameter(made.name + ".bias"));
  return true;
}

bool Network::absorb(ValueId value, const ChannelMapAttrs& next, const std::string& name) {
  Node& made = nodes_.at(static_cast<size_t>(value));
  if (!made.is<ChannelMapAttrs>()) return false;
  count_map(next);
  const ChannelMapAttrs& first = made.as<ChannelMapAttrs>();
  ChannelMapAttrs both{{}, first.stride * next.stride};
  for (const int32_t d : next.source) both.source.push_back(d < 0 ? -1 : first.source.at(static_cast<size_t>(d)));
  names_.erase(made.name);
  made.name = unique(name);
  made.shape = infer_shape(made.name, both, {shape(made.inputs[0])});
  made.attrs = std::move(both);
  return true;
}

Model Network::finish(ValueId output) {
  std::vector<bool> needed(nodes_.size(), false);
  needed.at(static_cast<size_t>(output)) = true;
  needed.at(0) = true;  // the input
  for (size_t i = nodes_.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const ValueId input : nodes_[i].inputs) needed[static_cast<size_t>(input)] = true;
  }
  Model model;
  std::vector<ValueId> made(nodes_.size(), -1);
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!needed[i]) continue;
    std::vector<ValueId> inputs;
    for (const ValueId input : nodes_[i].inputs) inputs.push_back(made[static_cast<size_t>(input)]);
    try {
      made[i] = model.graph.add(nodes_[i].name, nodes_[i].attrs, std::move(inputs));
    } catch (const ContractError& error) {
      throw InputError(where_ + ": " + reason(error));
    }
  }
  model.graph.set_output(made[static_cast<size_t>(output)]);
  for (const ParameterSpec& spec : required_parameters(model.graph)) model.parameters[spec.name] = parameters_.at(spec.name);
  return model;
}

}  // namespace elek::onnx
