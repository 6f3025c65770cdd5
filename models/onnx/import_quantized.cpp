// SPDX-License-Identifier: Apache-2.0
// QuantizeLinear and DequantizeLinear. elek runs such a network in f32: weights are recovered as scale * (q - zero point), and
// activations are not changed, except in one case. Quantizers drop a ReLU before a QuantizeLinear whose range starts at 0,
// because the range clips in its place. So such a QuantizeLinear becomes a ReLU.
// Tests: tests/models/onnx_import_test.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"
#include "models/onnx/importer.h"

namespace elek::onnx {
namespace {

struct Limits {
  int64_t low = 0, high = 0;
};
template <typename T>
constexpr Limits limits_of() {
  return {std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
}

Limits limits_of(std::string_view dtype) {
  if (dtype == "U8") return limits_of<uint8_t>();
  if (dtype == "I8") return limits_of<int8_t>();
  if (dtype == "U16") return limits_of<uint16_t>();
  if (dtype == "I16") return limits_of<int16_t>();
  if (dtype == "I32") return limits_of<int32_t>();
  throw Unsupported{"of the type " + std::string(dtype)};
}

/// For element i of a dense array, which scale it has: one for all, or one for each index of an axis.
struct PerAxis {
  size_t inner = 1, count = 1;
  PerAxis(const NodeProto& node, const Constant& from, size_t scales) {
    if (scales == 1) return;
    const int64_t rank = std::ssize(from.shape), asked = node.integer("axis", 1), axis = asked < 0 ? asked + rank : asked;
    if (axis < 0 || axis >= rank) throw Unsupported{"with a scale for each index of an axis that is not there"};
    for (auto i = static_cast<size_t>(axis) + 1; i < from.shape.size(); ++i) inner *= static_cast<size_t>(from.shape[i]);
    count = static_cast<size_t>(from.shape[static_cast<size_t>(axis)]);
  }
  [[nodiscard]] size_t at(size_t i) const noexcept { return count == 1 ? 0 : i / inner % count; }
};

}  // namespace

Value Importer::quantize(const NodeProto& node) {
  if (is_activation(node, 0)) {
    const Activation from = activation(node, 0);
    note("quantized activations are run in f32: neither rounded nor cut off");
    Limits limits = limits_of<uint8_t>();
    int64_t zero = 0;
    if (node.has_input(2)) {
      const Constant point = constant(node, 2);
      limits = limits_of(point.dtype);
      const std::vector<int64_t> points = tensors_.read_integers(point);
      if (points.size() != 1) throw Unsupported{"of activations with a zero point for each channel"};
      zero = points[0];
    }
    const bool rectifies = zero == limits.low && !network_.is_never_negative(from.value);
    return rectifies ? make(node, node.outputs.front(), ReluAttrs{}, {from.value}, from.axes) : renamed(node, from, from.axes);
  }
  const Constant from = constant(node, 0);
  const std::vector<float> scales = tensors_.read(constant(node, 1));
  const std::optional<Constant> points = node.has_input(2) ? std::optional(constant(node, 2)) : std::nullopt;
  const std::vector<int64_t> zeros = points ? tensors_.read_integers(*points) : std::vector<int64_t>(scales.size(), 0);
  const Limits limits = points ? limits_of(points->dtype) : limits_of<uint8_t>();
  const PerAxis per(node, from, scales.size());
  if (scales.size() != per.count || zeros.size() != per.count) throw Unsupported{"in blocks"};
  std::vector<float> values = tensors_.read(from);
  for (size_t i = 0; i < values.size(); ++i) {  // the rounded values times the scale are what DequantizeLinear gives
    const size_t at = per.at(i);
    const double q =
        std::nearbyint(static_cast<double>(values[i]) / static_cast<double>(scales[at])) + static_cast<double>(zeros[at]);
    values[i] = static_cast<float>(std::clamp(q, static_cast<double>(limits.low), static_cast<double>(limits.high)));
  }
  return floats(from.name, from.shape, values);
}

Value Importer::dequantize(const NodeProto& node) {
  if (is_activation(node, 0)) return identity(node);
  const Constant from = constant(node, 0);
  const std::vector<float> scales = tensors_.read(constant(node, 1));
  const std::vector<int64_t> zeros =
      node.has_input(2) ? tensors_.read_integers(constant(node, 2)) : std::vector<int64_t>(scales.size(), 0);
  const PerAxis per(node, from, scales.size());
  if (scales.size() != per.count || zeros.size() != per.count) throw Unsupported{"in blocks"};
  std::vector<float> values = tensors_.read(from);
  for (size_t i = 0; i < values.size(); ++i) {
    const size_t at = per.at(i);
    values[i] =
        static_cast<float>((static_cast<double>(values[i]) - static_cast<double>(zeros[at])) * static_cast<double>(scales[at]));
  }
  note("quantized weights are recovered as f32");
  return floats(from.name, from.shape, values);
}

}  // namespace elek::onnx
