// SPDX-License-Identifier: Apache-2.0
// Graph: named values and the nodes that make them, in execution order. It says what is computed, never where or how.
// A node makes exactly one value and shares its name, so that "layer1.0.conv2" names the node, its output and, with a suffix
// (".weight"), its parameters. Statistics, groups and prune plans speak of these names.
// Tests: tests/unit/graph_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "graph/op.h"

namespace elek {

using ValueId = int32_t;  // index into Graph::nodes(): value i is what node i makes

struct Node {
  std::string name;
  Attrs attrs;
  std::vector<ValueId> inputs;
  ImageShape shape;  // of the value it makes, one sample; filled by Graph::add

  template <typename A>
  [[nodiscard]] bool is() const noexcept {
    return std::holds_alternative<A>(attrs);
  }
  template <typename A>
  [[nodiscard]] const A& as() const {
    return std::get<A>(attrs);
  }
};
[[nodiscard]] inline std::string_view op_name(const Node& node) { return op_name(node.attrs); }
[[nodiscard]] inline OpClass op_class(const Node& node) { return op_class(node.attrs); }
[[nodiscard]] inline bool has_weights(const Node& node) { return has_weights(node.attrs); }

class Graph {
 public:
  /// Appends a node, infers its shape and returns its value. ContractError (operator, name, got, expected) if the inputs do not
  /// fit, the name is taken or empty, or an attribute is out of range.
  ValueId add(std::string name, Attrs attrs, std::vector<ValueId> inputs);
  /// The value that is the network's answer; the last one added unless set.
  void set_output(ValueId value);
  [[nodiscard]] ValueId output() const;
  [[nodiscard]] const std::vector<Node>& nodes() const noexcept { return nodes_; }
  [[nodiscard]] const Node& node(ValueId value) const;
  [[nodiscard]] ValueId find(std::string_view name) const;            // -1 if there is none
  [[nodiscard]] ValueId at(std::string_view name) const;              // ContractError if there is none
  [[nodiscard]] std::vector<ValueId> consumers(ValueId value) const;  // nodes that read it, in order
  [[nodiscard]] const ImageShape& input_shape() const;                // of the one input node
  [[nodiscard]] std::vector<ImageShape> input_shapes(const Node& node) const;

 private:
  std::vector<Node> nodes_;
  ValueId output_ = -1;
};

/// What the operator of one of the graph's nodes says (graph/op.h), for the shapes that it has there.
[[nodiscard]] ChannelFlow channel_flow(const Graph& graph, const Node& node);
[[nodiscard]] std::vector<OpParameter> op_parameters(const Graph& graph, const Node& node);

/// Multiply-accumulates for one sample: of convolutions and linear layers; the other operators count as none.
[[nodiscard]] int64_t macs(const Graph& graph);
[[nodiscard]] int64_t macs(const Graph& graph, const Node& node);

}  // namespace elek
