// SPDX-License-Identifier: Apache-2.0
// Nodes that move or rename elements. Of an activation they change the axes (models/onnx/axes.h); where they choose channels
// they make a channel map. Of constants and integers they are computed here (the integers in fold.h).
// Tests: tests/models/onnx_import_test.cpp
#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <utility>

#include "core/error.h"
#include "models/onnx/fold.h"
#include "models/onnx/importer.h"

namespace elek::onnx {

Value Importer::identity(const NodeProto& node) {
  Value from = input(node, 0);
  if (!std::holds_alternative<Activation>(from)) return from;
  const auto& activation = std::get<Activation>(from);
  return renamed(node, activation, activation.axes);
}

Value Importer::cast(const NodeProto& node) {
  const auto to = static_cast<ElementType>(node.integer("to", 0));
  const bool floating =
      to == ElementType::kFloat || to == ElementType::kFloat16 || to == ElementType::kBfloat16 || to == ElementType::kDouble;
  Value from = input(node, 0);
  if (std::holds_alternative<Activation>(from)) {
    if (!floating) throw Unsupported{"to integers"};
    return identity(node);
  }
  if (std::holds_alternative<Integers>(from) && floating) {
    const std::vector<int64_t> values = numbers(node, 0);
    return floats(node.outputs.front(), std::get<Integers>(from).shape, {values.begin(), values.end()});
  }
  if (std::holds_alternative<Constant>(from) && !floating) {
    const auto& constant = std::get<Constant>(from);
    if (constant.is_floating()) throw Unsupported{"of a constant to integers"};
  }
  return from;
}

/// A feature vector in the order of elek's own flatten becomes one. Other orders wait for the layer that reads them.
Value Importer::as_features(const NodeProto& node, Activation from, const std::optional<Axes>& axes) {
  if (!axes) throw Unsupported{"to axes that mix or split elements in a way that elek cannot follow"};
  const ImageShape shape = network_.shape(from.value);
  const std::string& name = node.outputs.front();
  // elek's own exporter flattens what a linear layer reads and calls it so; the layer itself does not need it.
  const bool own = file_.producer == "elek";
  const bool is_helper = own && shape.positions() == 1 && name.find("/input") != std::string::npos;
  if (axes->size() != 2 || *axes != feature_axes(shape) || (from.axes.size() == 2 && !own) || is_helper)
    return renamed(node, std::move(from), *axes);
  Value made = make(node, name, FlattenAttrs{}, {from.value}, Axes{});
  auto& activation = std::get<Activation>(made);
  activation.axes = feature_axes(network_.shape(activation.value));
  return made;
}

Value Importer::flatten(const NodeProto& node) {
  const Activation from = activation(node, 0);
  return as_features(node, from, flattened(from.axes, axis_in(node.integer("axis", 1), from.axes.size() + 1)));
}

Value Importer::reshape(const NodeProto& node) {
  std::vector<Integer> target;
  if (node.find("shape") != nullptr) {
    for (const int64_t dim : node.integers("shape", {})) target.push_back({dim, false});
  } else {
    target = integers(node, 1).values;
  }
  const bool zero_is_size = node.integer("allowzero", 0) != 0;
  if (is_activation(node, 0)) {
    const Activation from = activation(node, 0);
    return as_features(node, from, reshaped(from.axes, std::move(target), batch_, zero_is_size));
  }
  const Value from = input(node, 0);
  if (std::holds_alternative<Unknown>(from)) throw Skipped{};
  const std::vector<int64_t> old =
      std::holds_alternative<Constant>(from) ? std::get<Constant>(from).shape : std::get<Integers>(from).shape;
  const std::optional<std::vector<int64_t>> shape = fold::target_shape(old, target, zero_is_size);
  if (!shape) throw Unsupported{"of a constant to a shape of another size"};
  if (std::holds_alternative<Integers>(from)) return Integers{*shape, std::get<Integers>(from).values};
  Constant constant = std::get<Constant>(from);
  if (!constant.is_contiguous()) constant = floats(constant.name, constant.shape, tensors_.read(constant));
  return *reshaped(std::move(constant), *shape);
}

Value Importer::transpose(const NodeProto& node) {
  const Value from = input(node, 0);
  if (std::holds_alternative<Unknown>(from)) throw Skipped{};
  const auto* activation = std::get_if<Activation>(&from);
  const auto* constant = std::get_if<Constant>(&from);
  const size_t rank = activation != nullptr ? activation->axes.size()
                      : constant != nullptr ? constant->shape.size()
                                            : std::get<Integers>(from).shape.size();
  std::vector<int64_t> axes(rank);
  std::iota(axes.rbegin(), axes.rend(), int64_t{0});  // by default all axes are reversed
  axes = node.integers("perm", axes);
  std::vector<int64_t> sorted = axes;
  std::sort(sorted.begin(), sorted.end());
  for (size_t i = 0; i < sorted.size(); ++i) {
    if (sorted.size() != rank || sorted[i] != static_cast<int64_t>(i)) throw Unsupported{"whose perm is no order of the axes"};
  }
  if (constant != nullptr) return permuted(*constant, axes);
  if (activation == nullptr) return fold::transposed(std::get<Integers>(from), axes);
  Axes made;
  for (const int64_t axis : axes) made.push_back(activation->axes[static_cast<size_t>(axis)]);
  return renamed(node, *activation, std::move(made));
}

Value Importer::squeeze(const NodeProto& node) {
  const std::vector<int64_t> asked = numbers(node, "axes", 1, {});
  const Value from = input(node, 0);
  if (std::holds_alternative<Unknown>(from)) throw Skipped{};
  const auto* activation = std::get_if<Activation>(&from);
  if (activation == nullptr) return fold::squeezed(from, asked);
  std::set<size_t> gone;
  for (const int64_t axis : asked) gone.insert(axis_in(axis, activation->axes.size()));
  Axes made;
  for (size_t i = 0; i < activation->axes.size(); ++i) {
    const bool is_one = activation->axes[i].empty();
    if (gone.contains(i) && !is_one) throw Unsupported{"of an axis that is not 1"};
    if (asked.empty() ? !is_one : !gone.contains(i)) made.push_back(activation->axes[i]);
  }
  return renamed(node, *activation, std::move(made));
}

Value Importer::unsqueeze(const NodeProto& node) {
  const std::vector<int64_t> asked = numbers(node, "axes", 1, {});
  const Value from = input(node, 0);
  if (std::holds_alternative<Unknown>(from)) throw Skipped{};
  const auto* activation = std::get_if<Activation>(&from);
  if (activation == nullptr) return fold::unsqueezed(from, asked);
  std::set<size_t> fresh;
  for (const int64_t axis : asked) fresh.insert(axis_in(axis, activation->axes.size() + asked.size()));
  Axes made = activation->axes;
  for (const size_t axis : fresh) made.insert(made.begin() + static_cast<std::ptrdiff_t>(std::min(axis, made.size())), Axis{});
  return renamed(node, *activation, std::move(made));
}

/// Of channels: every input lies on its axes as the first one does. Of integers: computed.
Value Importer::concat(const NodeProto& node) {
  const int64_t axis = node.integer("axis", 0);
  if (!is_activation(node, 0)) {
    std::vector<Integers> parts;
    for (size_t i = 0; i < node.inputs.size(); ++i) parts.push_back(integers(node, i));
    return fold::concatenated(parts, axis);
  }
  const Activation first = activation(node, 0);
  if (node.inputs.size() == 1) return renamed(node, first, first.axes);
  const size_t at = axis_in(axis, first.axes.size());
  std::vector<ValueId> values;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    Activation part = activation(node, i);
    const auto order = at < part.axes.size() ? channels_of(part.axes[at], network_.shape(part.value)) : std::nullopt;
    if (!order) throw Unsupported{"of something else than channels"};
    if (!counts_up(*order)) part = std::get<Activation>(mapped(node.inputs[i], part, {*order, 1}));
    Axes rest = part.axes, wanted = first.axes;
    rest.at(at).clear();
    wanted[at].clear();
    if (rest != wanted) throw Unsupported{"of values whose axes differ"};
    values.push_back(part.value);
  }
  Value made = make(node, node.outputs.front(), ConcatAttrs{}, values, Axes{});
  auto& activation = std::get<Activation>(made);
  const auto axes = resized(first.axes, network_.shape(first.value), network_.shape(activation.value));
  if (!axes) throw Unsupported{"of axes that mix channels with rows or columns"};
  activation.axes = *axes;
  return made;
}

/// elek's own exporter writes one channel map as a Slice, a Pad and a Gather, called NAME/strided, NAME/padded and NAME. Only
/// those are joined in its files, so that each comes back as the network that it was.
bool Importer::may_join(const std::string& first, std::string name) const {
  static constexpr std::string_view kPadded = "/padded", kStrided = "/strided";
  if (file_.producer != "elek") return true;
  if (name.ends_with(kPadded)) name.resize(name.size() - kPadded.size());
  return first == name + std::string(kStrided) || first == name + std::string(kPadded);
}

Value Importer::mapped(const std::string& name, const Activation& from, const ChannelMapAttrs& map) {
  const ImageShape before = network_.shape(from.value);
  const bool absorbed = from.alone && may_join(network_.node(from.value).name, name) && network_.absorb(from.value, map, name);
  const ValueId value = absorbed ? from.value : network_.add(name, map, {from.value});
  const auto axes = resized(from.axes, before, network_.shape(value));
  if (!axes) throw Unsupported{"of axes that mix channels with rows or columns"};
  return Activation{value, *axes, read_once(name)};
}

namespace {

ChannelMapAttrs every_channel(int64_t channels) {
  ChannelMapAttrs map;
  map.source.resize(static_cast<size_t>(channels));
  std::iota(map.source.begin(), map.source.end(), 0);
  return map;
}

}  // namespace

Activation Importer::strided(const Activation& from, const std::string& name) {
  if (from.row_stride != from.column_stride) throw Unsupported{"it reads a Slice with different steps for rows and columns"};
  ChannelMapAttrs map = every_channel(network_.shape(from.value).channels);
  map.stride = from.row_stride;
  Activation made = std::get<Activation>(mapped(name, from, map));
  values_[name] = made;
  return made;
}

namespace {

/// One axis of a Slice, as ONNX clamps it: first index, count, step.
struct Range {
  int64_t first = 0, count = 0, step = 1;
};
Range range_of(int64_t size, int64_t start, int64_t end, int64_t step) {
  if (step <= 0 || step == std::numeric_limits<int64_t>::max()) throw Unsupported{"with a step of " + std::to_string(step)};
  const auto clamped = [&](int64_t at) { return std::clamp<int64_t>(at < 0 ? at + size : at, 0, size); };
  const int64_t first = clamped(std::max(start, -size)), last = clamped(std::max(end, -size - 1) < -size ? 0 : end);
  return {first, first < last ? (last - first - 1) / step + 1 : 0, step};
}

}  // namespace

Value Importer::slice(const NodeProto& node) {
  const std::vector<int64_t> starts = numbers(node, "starts", 1, {}), ends = numbers(node, "ends", 2, {});
  std::vector<int64_t> axes(starts.size());
  std::iota(axes.begin(), axes.end(), int64_t{0});
  axes = numbers(node, "axes", 3, axes);
  const std::vector<int64_t> steps = node.has_input(4) ? numbers(node, 4) : std::vector<int64_t>(starts.size(), 1);
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size())
    throw Unsupported{"with lists of different lengths"};
  if (!is_activation(node, 0)) {
    Integers made = integers(node, 0);
    for (size_t i = 0; i < starts.size(); ++i)
      made = fold::sliced(made, axis_in(axes[i], made.shape.size()), starts[i], ends[i], steps[i]);
    return made;
  }
  Value found = input(node, 0);
  Activation from = std::get<Activation>(std::move(found));
  if (!from.zeros.is_none()) throw Unsupported{"it reads the zeros of a Pad"};
  const ImageShape shape = network_.shape(from.value);
  std::optional<ChannelMapAttrs> map;
  for (size_t i = 0; i < starts.size(); ++i) {
    const Axis& axis = from.axes[axis_in(axes[i], from.axes.size())];
    if (is_batch(axis)) throw Unsupported{"of the batch"};
    const bool rows = axis == Axis{{Dim::kRow, shape.height, 1}}, columns = axis == Axis{{Dim::kColumn, shape.width, 1}};
    const Range range = range_of(size_of(axis), starts[i], ends[i], steps[i]);
    if (range.first == 0 && range.step == 1 && range.count == size_of(axis)) continue;
    if ((rows || columns) && range.first == 0 && range.count == (size_of(axis) - 1) / range.step + 1) {
      int64_t& stride = rows ? from.row_stride : from.column_stride;
      if (stride != 1 || range.step > (1 << 16)) throw Unsupported{"of rows or columns twice"};
      stride = range.step;
      continue;
    }
    const auto order = channels_of(axis, shape);
    if (!order || map) throw Unsupported{"of rows or columns, other than every n-th"};
    map.emplace();
    for (int64_t k = 0; k < range.count; ++k)
      map->source.push_back((*order)[static_cast<size_t>(range.first + k * range.step)]);
  }
  const std::string& name = node.outputs.front();
  if (!map && from.row_stride != 1 && from.row_stride == from.column_stride) map = every_channel(shape.channels);
  if (!map) return renamed(node, from, from.axes);
  if (from.row_stride != from.column_stride) throw Unsupported{"of channels behind one of rows"};
  map->stride = from.row_stride;
  from.row_stride = from.column_stride = 1;
  return mapped(name, from, *map);
}

Value Importer::gather(const NodeProto& node) {
  const Integers indices = integers(node, 1);
  if (!is_activation(node, 0)) {
    const Integers from = integers(node, 0);
    return fold::gathered(from, axis_in(node.integer("axis", 0), from.shape.size()), indices);
  }
  const Activation from = activation(node, 0);
  const ImageShape shape = network_.shape(from.value);
  const auto order = channels_of(from.axes[axis_in(node.integer("axis", 0), from.axes.size())], shape);
  if (!order || indices.shape.size() != 1) throw Unsupported{"of something else than channels"};
  ChannelMapAttrs map;
  for (const Integer& each : indices.values) {
    const int64_t index = each.value < 0 ? each.value + shape.channels : each.value;
    if (each.batch || index < 0 || index >= shape.channels) throw Unsupported{"of a channel that is not there"};
    map.source.push_back((*order)[static_cast<size_t>(index)]);
  }
  return mapped(node.outputs.front(), from, map);
}

Value Importer::split(const NodeProto& node) {
  Activation from = activation(node, 0);
  from.alone = false;  // each part reads it
  const ImageShape shape = network_.shape(from.value);
  const auto order = channels_of(from.axes[axis_in(node.integer("axis", 0), from.axes.size())], shape);
  if (!order) throw Unsupported{"of something else than channels"};
  const auto parts = static_cast<int64_t>(node.outputs.size());
  const int64_t each = (shape.channels + parts - 1) / parts;
  std::vector<int64_t> sizes(node.outputs.size(), each);
  sizes.back() = shape.channels - each * (parts - 1);
  sizes = numbers(node, "split", 1, sizes);
  if (sizes.size() != node.outputs.size()) throw Unsupported{"into another number of parts than it has outputs"};
  int64_t first = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] < 1 || sizes[i] > shape.channels - first) throw Unsupported{"into parts of other sizes than its input"};
    const auto begin = order->begin() + first;
    if (readers_.contains(node.outputs[i]))
      values_[node.outputs[i]] = mapped(node.outputs[i], from, {{begin, begin + sizes[i]}, 1});
    first += sizes[i];
  }
  return values_[node.outputs.front()];
}

}  // namespace elek::onnx
