// SPDX-License-Identifier: Apache-2.0
// Asks an operator through the variant. `requires` finds out whether it has an optional member.
// Tests: tests/unit/op_test.cpp, tests/unit/graph_test.cpp
#include <type_traits>
#include <utility>

#include "core/error.h"
#include "elek/graph.h"

namespace elek {
namespace {

template <typename... Ops>
constexpr bool all_are_operators(const std::variant<Ops...>* /*set*/) {
  return (Operator<Ops> && ...);
}
static_assert(all_are_operators(static_cast<const Attrs*>(nullptr)),
              "an operator lacks a required member, see concept Operator");

/// Visits the fields of an operator: numbers must lie in their ranges. The operator checks other fields itself.
struct RangeCheck {
  const NodeInputs& inputs;
  template <typename Field, typename Range>
  requires(std::is_same_v<Range, IntRange> || std::is_same_v<Range, RealRange>) void operator()(
      const char* name, const Field& value, Range range, const auto&... /*omitted*/) const {
    inputs.check_range(name, value, range);
  }
  void operator()(const char* /*name*/, const auto& /*field*/, const auto&... /*omitted*/) const {}
};

template <size_t... I>
std::optional<Attrs> named(std::string_view name, std::index_sequence<I...> /*all*/) {
  std::optional<Attrs> found;
  const auto is_it = [&]<size_t J>() {
    using Op = std::variant_alternative_t<J, Attrs>;
    if (Op::kName == name) found = Op{};
  };
  (is_it.template operator()<I>(), ...);
  return found;
}

}  // namespace

std::string_view op_name(const Attrs& attrs) {
  return std::visit([](const auto& op) { return std::string_view(op.kName); }, attrs);
}

OpClass op_class(const Attrs& attrs) {
  return std::visit([](const auto& op) { return OpClass(op.kClass); }, attrs);
}

std::optional<Attrs> attrs_of(std::string_view op_name) {
  return named(op_name, std::make_index_sequence<std::variant_size_v<Attrs>>());
}

ImageShape infer_shape(const std::string& name, const Attrs& attrs, const std::vector<ImageShape>& inputs) {
  const ImageShape shape = std::visit(
      [&](const auto& op) {
        const NodeInputs node(op.kName, name, inputs);
        const bool any = op.kInputs == kTwoOrMore;
        ELEK_CHECK(any ? inputs.size() >= 2 : inputs.size() == op.kInputs,
                   node.who() + "expected " + (any ? std::string("two or more") : std::to_string(op.kInputs)) +
                       " inputs, got " + std::to_string(inputs.size()));
        op.fields(op, RangeCheck{node});
        return op.infer(node);
      },
      attrs);
  (void)checked_bytes(Shape{shape.channels, shape.height, shape.width}, DType::kF64);  // every dimension > 0, no overflow
  return shape;
}

ChannelFlow channel_flow(const Attrs& attrs, std::span<const ImageShape> inputs) {
  return std::visit([&](const auto& op) { return op.channel_flow(inputs); }, attrs);
}

std::vector<OpParameter> op_parameters(const Attrs& attrs, std::span<const ImageShape> inputs, const ImageShape& output) {
  return std::visit(
      [&](const auto& op) -> std::vector<OpParameter> {
        if constexpr (requires { op.parameters(inputs, output); }) {
          return op.parameters(inputs, output);
        } else {
          return {};
        }
      },
      attrs);
}

int64_t op_macs(const Attrs& attrs, std::span<const ImageShape> inputs, const ImageShape& output) {
  return std::visit(
      [&](const auto& op) -> int64_t {
        if constexpr (requires { op.macs(inputs, output); }) {
          return op.macs(inputs, output);
        } else {
          return 0;
        }
      },
      attrs);
}

Attrs cut_attrs(const Attrs& attrs, std::span<const ImageShape> inputs, const KeptChannels& kept) {
  return std::visit(
      [&](const auto& op) -> Attrs {
        if constexpr (requires { op.cut(inputs, kept); }) {
          return op.cut(inputs, kept);
        } else {
          return op;
        }
      },
      attrs);
}

Window window_of(const Attrs& attrs) {
  return std::visit(
      [](const auto& op) -> Window {
        if constexpr (requires { op.window(); }) {
          return op.window();
        } else {
          return {};
        }
      },
      attrs);
}

Activation activation_of(const Attrs& attrs) {
  return std::visit(
      [](const auto& op) -> Activation {
        if constexpr (requires { op.activation(); }) {
          return op.activation();
        } else {
          return {};
        }
      },
      attrs);
}

bool has_weights(const Attrs& attrs) {
  const OpClass of = op_class(attrs);
  return of == OpClass::kConv || of == OpClass::kLinear;
}

Conv2dAttrs as_convolution(const Attrs& attrs) {
  if (const auto* conv = std::get_if<Conv2dAttrs>(&attrs)) return *conv;
  const auto* linear = std::get_if<LinearAttrs>(&attrs);
  ELEK_CHECK(linear != nullptr, std::string(op_name(attrs)) + " is not a convolution or linear layer");
  Conv2dAttrs made;
  made.out_channels = linear->out_features;
  made.bias = linear->bias;
  return made;
}

}  // namespace elek
