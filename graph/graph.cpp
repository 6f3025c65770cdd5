// SPDX-License-Identifier: Apache-2.0
// Building a graph. Every error in a node is found when it is added, so later code can rely on ranges and shapes.
// Tests: tests/unit/graph_test.cpp
#include "elek/graph.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"

namespace elek {

ValueId Graph::add(std::string name, Attrs attrs, std::vector<ValueId> inputs) {
  ELEK_CHECK(!name.empty(), "a node must have a name; node " + std::to_string(nodes_.size()) + " has none");
  ELEK_CHECK(find(name) < 0, "another node has the name '" + name + "'; names must be unique");
  ELEK_CHECK(!std::holds_alternative<InputAttrs>(attrs) || nodes_.empty(),
             "input '" + name + "': the input must be the first node, but the graph has " + std::to_string(nodes_.size()) +
                 " nodes already");
  for (const ValueId input : inputs) {
    ELEK_CHECK(input >= 0 && static_cast<size_t>(input) < nodes_.size(), "node '" + name + "': reads value " +
                                                                             std::to_string(input) + ", expected one of the " +
                                                                             std::to_string(nodes_.size()) + " before it");
  }
  Node made{std::move(name), std::move(attrs), std::move(inputs), {}};
  made.shape = infer_shape(made.name, made.attrs, input_shapes(made));
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
             "the graph has no value " + std::to_string(value) + ", expected 0 to " + std::to_string(std::ssize(nodes_) - 1));
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

std::vector<ImageShape> Graph::input_shapes(const Node& node) const {
  std::vector<ImageShape> shapes;
  shapes.reserve(node.inputs.size());
  for (const ValueId input : node.inputs) shapes.push_back(this->node(input).shape);
  return shapes;
}

ChannelFlow channel_flow(const Graph& graph, const Node& node) { return channel_flow(node.attrs, graph.input_shapes(node)); }

std::vector<OpParameter> op_parameters(const Graph& graph, const Node& node) {
  return op_parameters(node.attrs, graph.input_shapes(node), node.shape);
}

int64_t macs(const Graph& graph, const Node& node) { return op_macs(node.attrs, graph.input_shapes(node), node.shape); }

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
