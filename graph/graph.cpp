// SPDX-License-Identifier: Apache-2.0
// Building a graph and inferring its shapes. Everything that can be wrong with a node is found here, when it is added, so that
// later code may rely on ranges and shapes. Tests: tests/unit/graph_test.cpp
#include "graph/graph.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "core/error.h"

namespace elek {
namespace {

constexpr int64_t kMaxWindow = 1 << 16;             // kernel, stride, padding: far beyond use, far below overflow
constexpr int64_t kMaxChannels = int64_t{1} << 31;  // channel indices are int32 (ChannelMapAttrs::source)

constexpr std::array<std::string_view, std::variant_size_v<Attrs>> kOpNames = {
    "input",    "conv2d",          "batch_norm", "relu",    "add",        "max_pool",
    "avg_pool", "global_avg_pool", "linear",     "flatten", "channel_map"};

/// Shape inference of one node: a visitor that knows the name for its messages.
struct Inference {
  const std::string& name;
  const std::vector<ImageShape>& inputs;

  [[nodiscard]] std::string who(std::string_view op) const { return std::string(op) + " '" + name + "': "; }

  void arity(std::string_view op, size_t wanted) const {
    ELEK_CHECK(inputs.size() == wanted,
               who(op) + "expected " + std::to_string(wanted) + " inputs, got " + std::to_string(inputs.size()));
  }

  void range(std::string_view op, std::string_view attr, int64_t value, int64_t low, int64_t high) const {
    ELEK_CHECK(value >= low && value <= high, who(op) + std::string(attr) + " expected in [" + std::to_string(low) + ", " +
                                                  std::to_string(high) + "], got " + std::to_string(value));
  }

  /// Positions of a sliding window along one axis.
  [[nodiscard]] int64_t slide(std::string_view op, int64_t size, int64_t kernel, int64_t stride, int64_t padding) const {
    ELEK_CHECK(size + 2 * padding >= kernel, who(op) + "kernel " + std::to_string(kernel) + " does not fit into input " +
                                                 to_string(inputs[0]) + " with padding " + std::to_string(padding));
    return (size + 2 * padding - kernel) / stride + 1;
  }

  [[nodiscard]] ImageShape window(std::string_view op, int64_t channels, int64_t kernel, int64_t stride,
                                  int64_t padding) const {
    range(op, "kernel", kernel, 1, kMaxWindow);
    range(op, "stride", stride, 1, kMaxWindow);
    range(op, "padding", padding, 0, kMaxWindow);
    return {channels, slide(op, inputs[0].height, kernel, stride, padding),
            slide(op, inputs[0].width, kernel, stride, padding)};
  }

  [[nodiscard]] ImageShape pool(std::string_view op, const PoolAttrs& attrs) const {
    arity(op, 1);
    const ImageShape shape = window(op, inputs[0].channels, attrs.kernel, attrs.stride, attrs.padding);
    // A window that lies in the padding alone has no maximum; PyTorch refuses it the same way.
    ELEK_CHECK(2 * attrs.padding <= attrs.kernel, who(op) + "padding expected at most half the kernel " +
                                                      std::to_string(attrs.kernel) + ", got " + std::to_string(attrs.padding));
    return shape;
  }

  ImageShape operator()(const InputAttrs& attrs) const {
    arity("input", 0);
    return attrs.shape;
  }
  ImageShape operator()(const Conv2dAttrs& attrs) const {
    arity("conv2d", 1);
    range("conv2d", "out_channels", attrs.out_channels, 1, kMaxChannels);
    range("conv2d", "groups", attrs.groups, 1, kMaxChannels);
    ELEK_CHECK(inputs[0].channels % attrs.groups == 0 && attrs.out_channels % attrs.groups == 0,
               who("conv2d") + "groups " + std::to_string(attrs.groups) + " must divide the input's " +
                   std::to_string(inputs[0].channels) + " and the output's " + std::to_string(attrs.out_channels) +
                   " channels");
    return window("conv2d", attrs.out_channels, attrs.kernel, attrs.stride, attrs.padding);
  }
  ImageShape operator()(const BatchNormAttrs& attrs) const {
    arity("batch_norm", 1);
    ELEK_CHECK(std::isfinite(attrs.eps) && attrs.eps > 0,
               who("batch_norm") + "eps expected positive and finite, got " + std::to_string(attrs.eps));
    return inputs[0];
  }
  ImageShape operator()(const ReluAttrs& /*attrs*/) const {
    arity("relu", 1);
    return inputs[0];
  }
  ImageShape operator()(const AddAttrs& /*attrs*/) const {
    arity("add", 2);
    ELEK_CHECK(inputs[0] == inputs[1],
               who("add") + "expected two inputs of one shape, got " + to_string(inputs[0]) + " and " + to_string(inputs[1]));
    return inputs[0];
  }
  ImageShape operator()(const MaxPoolAttrs& attrs) const { return pool("max_pool", attrs); }
  ImageShape operator()(const AvgPoolAttrs& attrs) const { return pool("avg_pool", attrs); }
  ImageShape operator()(const GlobalAvgPoolAttrs& /*attrs*/) const {
    arity("global_avg_pool", 1);
    return {inputs[0].channels, 1, 1};
  }
  ImageShape operator()(const LinearAttrs& attrs) const {
    arity("linear", 1);
    range("linear", "out_features", attrs.out_features, 1, kMaxChannels);
    ELEK_CHECK(inputs[0].positions() == 1,
               who("linear") + "expected a feature vector (Fx1x1), got " + to_string(inputs[0]) + "; put a flatten before it");
    return {attrs.out_features, 1, 1};
  }
  ImageShape operator()(const FlattenAttrs& /*attrs*/) const {
    arity("flatten", 1);
    return {inputs[0].elements(), 1, 1};
  }
  ImageShape operator()(const ChannelMapAttrs& attrs) const {
    arity("channel_map", 1);
    range("channel_map", "stride", attrs.stride, 1, kMaxWindow);
    range("channel_map", "number of channels", static_cast<int64_t>(attrs.source.size()), 1, kMaxChannels);
    for (const int32_t source : attrs.source) {
      ELEK_CHECK(source >= -1 && source < inputs[0].channels, who("channel_map") + "source channels expected in [-1, " +
                                                                  std::to_string(inputs[0].channels) + "), got " +
                                                                  std::to_string(source));
    }
    return {static_cast<int64_t>(attrs.source.size()), (inputs[0].height - 1) / attrs.stride + 1,
            (inputs[0].width - 1) / attrs.stride + 1};
  }
};

}  // namespace

std::string_view op_name(const Node& node) { return kOpNames.at(node.attrs.index()); }

ImageShape infer_shape(const std::string& name, const Attrs& attrs, const std::vector<ImageShape>& inputs) {
  const ImageShape shape = std::visit(Inference{name, inputs}, attrs);
  (void)checked_bytes(Shape{shape.channels, shape.height, shape.width}, DType::kF64);  // every dimension > 0, no overflow
  return shape;
}

ValueId Graph::add(std::string name, Attrs attrs, std::vector<ValueId> inputs) {
  ELEK_CHECK(!name.empty(), "a node must have a name; node " + std::to_string(nodes_.size()) + " has none");
  ELEK_CHECK(find(name) < 0, "the name '" + name + "' is taken by another node; names must be unique");
  ELEK_CHECK(!std::holds_alternative<InputAttrs>(attrs) || nodes_.empty(),
             "input '" + name + "': a graph has one input node, its first; this one has " + std::to_string(nodes_.size()) +
                 " nodes already");
  std::vector<ImageShape> shapes;
  for (const ValueId input : inputs) {
    ELEK_CHECK(input >= 0 && static_cast<size_t>(input) < nodes_.size(), "node '" + name + "': reads value " +
                                                                             std::to_string(input) + ", expected one of the " +
                                                                             std::to_string(nodes_.size()) + " before it");
    shapes.push_back(node(input).shape);
  }
  Node made{std::move(name), std::move(attrs), std::move(inputs), {}};
  made.shape = infer_shape(made.name, made.attrs, shapes);
  nodes_.push_back(std::move(made));
  return static_cast<ValueId>(nodes_.size()) - 1;
}

void Graph::set_output(ValueId value) {
  (void)node(value);
  output_ = value;
}

ValueId Graph::output() const {
  ELEK_CHECK(!nodes_.empty(), "an empty graph has no output; add nodes first");
  return output_ >= 0 ? output_ : static_cast<ValueId>(nodes_.size()) - 1;
}

const Node& Graph::node(ValueId value) const {
  ELEK_CHECK(value >= 0 && static_cast<size_t>(value) < nodes_.size(),
             "value " + std::to_string(value) + " is none of the graph's " + std::to_string(nodes_.size()));
  return nodes_[static_cast<size_t>(value)];
}

ValueId Graph::find(std::string_view name) const {
  const auto found = std::find_if(nodes_.begin(), nodes_.end(), [&](const Node& each) { return each.name == name; });
  return found == nodes_.end() ? -1 : static_cast<ValueId>(found - nodes_.begin());
}

ValueId Graph::at(std::string_view name) const {
  const ValueId value = find(name);
  ELEK_CHECK(value >= 0, "the graph has no value '" + std::string(name) + "'");
  return value;
}

std::vector<ValueId> Graph::consumers(ValueId value) const {
  (void)node(value);
  std::vector<ValueId> readers;
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (std::find(nodes_[i].inputs.begin(), nodes_[i].inputs.end(), value) != nodes_[i].inputs.end()) {
      readers.push_back(static_cast<ValueId>(i));
    }
  }
  return readers;
}

const ImageShape& Graph::input_shape() const {
  ELEK_CHECK(!nodes_.empty() && nodes_.front().is<InputAttrs>(), "the graph has no input node; its first node must be one");
  return nodes_.front().shape;
}

int64_t macs(const Graph& graph, const Node& node) {
  if (node.is<Conv2dAttrs>()) {
    const auto& conv = node.as<Conv2dAttrs>();
    const int64_t channels = graph.node(node.inputs.at(0)).shape.channels / conv.groups;
    return Shape{node.shape.elements(), channels, conv.kernel, conv.kernel}.elements();  // refuses a product beyond 2^63
  }
  if (node.is<LinearAttrs>()) {
    return Shape{node.shape.channels, graph.node(node.inputs.at(0)).shape.channels}.elements();
  }
  return 0;
}

int64_t macs(const Graph& graph) {
  int64_t total = 0;
  for (const Node& node : graph.nodes()) {
    const int64_t more = macs(graph, node);
    ELEK_CHECK(more <= std::numeric_limits<int64_t>::max() - total, "the graph has more than 2^63 multiply-accumulates");
    total += more;
  }
  return total;
}

}  // namespace elek
