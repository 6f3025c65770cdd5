// SPDX-License-Identifier: Apache-2.0
// The closed set of operators, and what can be asked of any of them. To add one, write its struct in graph/ops, include it here
// and add it to Attrs: docs/architecture-operators.md lists what else it needs.
// Questions about a node of a graph take its inputs' shapes, so that they can be asked before the node is added.
// Tests: tests/unit/op_test.cpp
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "graph/ops/add.h"
#include "graph/ops/batch_norm.h"
#include "graph/ops/channel_map.h"
#include "graph/ops/channel_scale.h"
#include "graph/ops/clip.h"
#include "graph/ops/conv2d.h"
#include "graph/ops/flatten.h"
#include "graph/ops/global_avg_pool.h"
#include "graph/ops/hard_swish.h"
#include "graph/ops/input.h"
#include "graph/ops/leaky_relu.h"
#include "graph/ops/linear.h"
#include "graph/ops/pool.h"
#include "graph/ops/relu.h"
#include "graph/ops/sigmoid.h"

namespace elek {

using Attrs = std::variant<InputAttrs, Conv2dAttrs, BatchNormAttrs, ReluAttrs, AddAttrs, MaxPoolAttrs, AvgPoolAttrs,
                           GlobalAvgPoolAttrs, LinearAttrs, FlattenAttrs, ChannelMapAttrs, ClipAttrs, LeakyReluAttrs,
                           SigmoidAttrs, HardSwishAttrs, ChannelScaleAttrs>;

[[nodiscard]] std::string_view op_name(const Attrs& attrs);  // "conv2d", "batch_norm", … as in model files
[[nodiscard]] OpClass op_class(const Attrs& attrs);
/// Default attributes of the operator called so; nothing if elek has none of that name.
[[nodiscard]] std::optional<Attrs> attrs_of(std::string_view op_name);

/// Shape of one sample of what `attrs` makes from inputs of these shapes. ContractError (operator, name, got, expected) if
/// their number or shapes do not fit, or an attribute is out of range.
[[nodiscard]] ImageShape infer_shape(const std::string& name, const Attrs& attrs, const std::vector<ImageShape>& inputs);

[[nodiscard]] ChannelFlow channel_flow(const Attrs& attrs, std::span<const ImageShape> inputs);
/// None unless the operator says so.
[[nodiscard]] std::vector<OpParameter> op_parameters(const Attrs& attrs, std::span<const ImageShape> inputs,
                                                     const ImageShape& output);
/// 0 unless the operator says so.
[[nodiscard]] int64_t op_macs(const Attrs& attrs, std::span<const ImageShape> inputs, const ImageShape& output);
/// The attributes after a cut; unchanged unless the operator says so.
[[nodiscard]] Attrs cut_attrs(const Attrs& attrs, std::span<const ImageShape> inputs, const KeptChannels& kept);
/// 1x1 without stride unless the operator says so.
[[nodiscard]] OpWindow window_of(const Attrs& attrs);

/// None unless the operator is an activation.
[[nodiscard]] Activation activation_of(const Attrs& attrs);

/// A convolution, or a linear layer: trained weights multiply its input.
[[nodiscard]] bool has_weights(const Attrs& attrs);
/// The layer as a convolution: a linear layer is one of 1x1 over one position. ContractError if it has no weights.
[[nodiscard]] Conv2dAttrs as_convolution(const Attrs& attrs);

/// Calls visit(name, member[, IntRange or RealRange]) for each attribute, in the order of model files.
template <typename AttrsOrConst, typename Visit>
void visit_fields(AttrsOrConst& attrs, Visit&& visit) {
  std::visit([&](auto& op) { op.fields(op, visit); }, attrs);
}

}  // namespace elek
