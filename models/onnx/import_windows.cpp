// SPDX-License-Identifier: Apache-2.0
// Windows: their attributes, pools, and the zeros that a Pad puts before one. Tests: tests/models/onnx_import_test.cpp
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "models/onnx/importer.h"

namespace elek::onnx {
namespace {

/// The two values of an attribute, rows first.
Pair two(const NodeProto& node, const char* attribute, Pair otherwise) {
  const std::vector<int64_t> values = node.integers(attribute, {otherwise.rows, otherwise.columns});
  if (values.size() != 2)
    throw Unsupported{std::string(attribute) + " of " + std::to_string(values.size()) + " dimensions, not 2"};
  constexpr int64_t kMost = 1 << 16;
  for (const int64_t value : values) {
    if (value < 1 || value > kMost) throw Unsupported{std::string(attribute) + " " + std::to_string(value)};
  }
  return {values[0], values[1]};
}

/// Padding at both ends so that ceil(size / stride) windows fit; an odd one goes behind, or before for `lower`.
std::pair<int64_t, int64_t> same_padding(int64_t size, int64_t kernel, int64_t stride, int64_t dilation, bool lower) {
  const int64_t outputs = (size + stride - 1) / stride;
  const int64_t total = std::max<int64_t>(0, (outputs - 1) * stride + (kernel - 1) * dilation + 1 - size);
  const int64_t less = total / 2;
  return lower ? std::pair{total - less, less} : std::pair{less, total - less};
}

}  // namespace

SlidingWindow Importer::sliding_window(const NodeProto& node, Pair kernel, const Activation& from) const {
  SlidingWindow window;
  window.kernel = two(node, "kernel_shape", kernel);
  if (window.kernel != kernel)
    throw InputError(file_.where() + ": node '" + node.label() + "': its kernel_shape is not that of its weights");
  window.stride = two(node, "strides", {1, 1});
  window.dilation = two(node, "dilations", {1, 1});
  const std::string padding = node.text("auto_pad", "NOTSET");
  if (padding == "SAME_UPPER" || padding == "SAME_LOWER") {
    const bool lower = padding == "SAME_LOWER";
    const ImageShape& shape = network_.shape(from.value);
    const Border& zeros = from.zeros;
    std::tie(window.padding.top, window.padding.bottom) =
        same_padding(shape.height + zeros.top + zeros.bottom, kernel.rows, window.stride.rows, window.dilation.rows, lower);
    std::tie(window.padding.left, window.padding.right) = same_padding(shape.width + zeros.left + zeros.right, kernel.columns,
                                                                       window.stride.columns, window.dilation.columns, lower);
  } else if (padding == "NOTSET" || padding.empty()) {
    const std::vector<int64_t> pads = node.integers("pads", {0, 0, 0, 0});
    constexpr int64_t kMost = 1 << 16;
    if (pads.size() != 4) throw Unsupported{"pads of " + std::to_string(pads.size() / 2) + " dimensions, not 2"};
    for (const int64_t pad : pads) {
      if (pad < 0 || pad > kMost) throw Unsupported{"a padding of " + std::to_string(pad)};
    }
    window.padding = {pads[0], pads[1], pads[2], pads[3]};
  } else if (padding != "VALID") {
    throw Unsupported{"auto_pad " + padding};
  }
  return window;
}

namespace {

void add_zeros(SlidingWindow& window, const Border& zeros) {
  window.padding.top += zeros.top;
  window.padding.left += zeros.left;
  window.padding.bottom += zeros.bottom;
  window.padding.right += zeros.right;
}

Extent extent_of(const Pair& pair) { return {pair.rows, pair.columns}; }
Padding padding_of(const Border& border) { return {border.top, border.left, border.bottom, border.right}; }

/// Takes the window; the zeros of a Pad become padding.
void set_window(PoolAttrs& attrs, const NodeProto& node, SlidingWindow window, const Border& zeros) {
  if (window.dilation != Pair{1, 1}) throw Unsupported{"with dilation"};
  add_zeros(window, zeros);
  attrs.kernel = extent_of(window.kernel);
  attrs.stride = extent_of(window.stride);
  attrs.padding = padding_of(window.padding);
  attrs.ceil_mode = node.integer("ceil_mode", 0) != 0;
  // With ceil_mode a window may begin in the Pad's zeros, which are pixels to the pool. None begins in padding behind the
  // image.
  if (attrs.ceil_mode && (zeros.bottom > 0 || zeros.right > 0)) throw Unsupported{"ceil_mode over the zeros of a Pad"};
}

}  // namespace

void Importer::set_window(Conv2dAttrs& attrs, SlidingWindow window, const Border& zeros) {
  add_zeros(window, zeros);
  attrs.kernel = extent_of(window.kernel);
  attrs.stride = extent_of(window.stride);
  attrs.padding = padding_of(window.padding);
  attrs.dilation = extent_of(window.dilation);
}

Value Importer::max_pool(const NodeProto& node) {
  const Activation from = image(node, window_activation(node, 0));
  const SlidingWindow window = sliding_window(node, two(node, "kernel_shape", {0, 0}), from);
  if (!from.zeros.is_none() && !network_.is_never_negative(from.value)) {
    throw Unsupported{"zeros of a Pad around values that may be negative"};  // zeros would be a maximum that is not there
  }
  MaxPoolAttrs attrs;
  onnx::set_window(attrs, node, window, from.zeros);
  return make(node, node.outputs.front(), attrs, {from.value});
}

Value Importer::average_pool(const NodeProto& node) {
  const Activation from = image(node, window_activation(node, 0));
  const SlidingWindow window = sliding_window(node, two(node, "kernel_shape", {0, 0}), from);
  AvgPoolAttrs attrs;
  // Without padding both ways of counting are the same; elek's default is written then. The zeros of a Pad do count.
  attrs.count_include_pad = node.integer("count_include_pad", 0) != 0 || window.padding.is_none();
  if (!from.zeros.is_none() && !attrs.count_include_pad) throw Unsupported{"zeros of a Pad, and padding that does not count"};
  onnx::set_window(attrs, node, window, from.zeros);
  return make(node, node.outputs.front(), attrs, {from.value});
}

Value Importer::global_average_pool(const NodeProto& node) {
  const Activation from = image(node, activation(node, 0));
  return make(node, node.outputs.front(), GlobalAvgPoolAttrs{}, {from.value});
}

Value Importer::global_max_pool(const NodeProto& node) {
  const Activation from = image(node, activation(node, 0));
  const ImageShape& shape = network_.shape(from.value);
  MaxPoolAttrs attrs;
  attrs.kernel = {shape.height, shape.width};
  return make(node, node.outputs.front(), attrs, {from.value});
}

/// The mean over all rows and columns, wherever they lie.
Value Importer::reduce_mean(const NodeProto& node) {
  Activation from = activation(node, 0);
  std::set<size_t> reduced;
  for (const int64_t axis : numbers(node, "axes", 1, {})) reduced.insert(axis_in(axis, from.axes.size()));
  const bool keep = node.integer("keepdims", 1) != 0;
  Axes axes;
  for (size_t i = 0; i < from.axes.size(); ++i) {
    const Axis& axis = from.axes[i];
    const bool goes = reduced.contains(i);
    const bool is_position = has(axis, Dim::kRow) || has(axis, Dim::kColumn);
    if (goes ? has(axis, Dim::kChannel) || has(axis, Dim::kBatch) : is_position)
      throw Unsupported{"not over exactly the rows and columns"};
    if (!goes) axes.push_back(axis);
    if (goes && keep) axes.emplace_back();
  }
  if (reduced.empty()) throw Unsupported{"over all axes"};
  if (network_.shape(from.value).positions() == 1) return renamed(node, std::move(from), std::move(axes));
  return make(node, node.outputs.front(), GlobalAvgPoolAttrs{}, {from.value}, axes);
}

/// Zeros around the image wait for the window that reads them. Zeros before and behind the channels make a channel map.
Value Importer::pad(const NodeProto& node) {
  Activation from = activation(node, 0);
  if (const std::string mode = node.text("mode", "constant"); mode != "constant") throw Unsupported{"mode " + mode};
  if (number(node, "value", 2).value_or(0) != 0) throw Unsupported{"with another value than 0"};
  std::vector<int64_t> pads = node.find("paddings") != nullptr ? node.integers("paddings", {}) : numbers(node, "pads", 1, {});
  std::vector<int64_t> axes(from.axes.size());
  for (size_t i = 0; i < axes.size(); ++i) axes[i] = static_cast<int64_t>(i);
  if (node.has_input(3)) axes = numbers(node, 3);
  if (pads.size() != 2 * axes.size()) throw Unsupported{"pads of " + std::to_string(pads.size()) + " numbers"};
  constexpr int64_t kMost = 1 << 16;
  const ImageShape shape = network_.shape(from.value);
  ChannelMapAttrs map;
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t before = pads[i], behind = pads[i + axes.size()];
    if (before == 0 && behind == 0) continue;
    if (before < 0 || behind < 0 || before > kMost || behind > kMost)
      throw Unsupported{"pads " + std::to_string(std::min(before, behind))};
    const size_t at = axis_in(axes[i], from.axes.size());
    const Axes plain = image_axes(shape);
    if (!is_image(from.axes, shape) && from.axes != channels_last_axes(shape))
      throw Unsupported{"of something that is no image"};
    const bool channels_last = from.axes != plain && from.axes == channels_last_axes(shape);
    const size_t dim = channels_last ? std::array<size_t, 4>{0, 2, 3, 1}.at(at) : at;  // 1 channels, 2 rows, 3 columns
    if (dim == 0) throw Unsupported{"of the batch"};
    if (dim == 2) from.zeros.top = before, from.zeros.bottom = behind;
    if (dim == 3) from.zeros.left = before, from.zeros.right = behind;
    if (dim != 1) continue;
    const auto order = channels_of(from.axes[channels_last ? 3 : 1], shape);
    map.source.assign(static_cast<size_t>(before), -1);
    map.source.insert(map.source.end(), order->begin(), order->end());
    map.source.insert(map.source.end(), static_cast<size_t>(behind), -1);
  }
  if (map.source.empty()) return renamed(node, from, from.axes);
  if (!from.zeros.is_none()) throw Unsupported{"of channels and rows at once"};
  return mapped(node.outputs.front(), from, map);
}

}  // namespace elek::onnx
