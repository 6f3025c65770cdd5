// SPDX-License-Identifier: Apache-2.0
// Graph: named values and the nodes that make them, in execution order. It says what is computed, never where or how.
// A node makes exactly one value and shares its name, so that "layer1.0.conv2" names the node, its output and, with a suffix
// (".weight"), its parameters. Statistics, groups and prune plans speak of these names.
// Tests: tests/unit/graph_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/types.h"

namespace elek {

using ValueId = int32_t;  // index into Graph::nodes(): value i is what node i makes

struct InputAttrs {
  ImageShape shape;
};
/// y[n,k,p,q] = bias[k] + sum over c,r,s of w[k,c,r,s] x[n,c,p*stride-padding+r,q*stride-padding+s]
struct Conv2dAttrs {
  int64_t out_channels = 0;
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
  int64_t groups = 1;
  bool bias = false;
};
struct BatchNormAttrs {
  double eps = 1e-5;
};
struct ReluAttrs {};
struct AddAttrs {};
/// padding of a max pool is -infinity; an average pool's divisor counts it (torchvision's default).
struct PoolAttrs {
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
};
struct MaxPoolAttrs : PoolAttrs {};
struct AvgPoolAttrs : PoolAttrs {};
struct GlobalAvgPoolAttrs {};
struct LinearAttrs {
  int64_t out_features = 0;
  bool bias = true;
};
struct FlattenAttrs {};
/// y[n,d,p,q] = source[d] < 0 ? 0 : x[n, source[d], p*stride, q*stride] (option-A shortcuts, masks)
struct ChannelMapAttrs {
  std::vector<int32_t> source;
  int64_t stride = 1;
};
using Attrs = std::variant<InputAttrs, Conv2dAttrs, BatchNormAttrs, ReluAttrs, AddAttrs, MaxPoolAttrs, AvgPoolAttrs,
                           GlobalAvgPoolAttrs, LinearAttrs, FlattenAttrs, ChannelMapAttrs>;

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
[[nodiscard]] std::string_view op_name(const Node& node);  // "conv2d", "batch_norm", … as in model files

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

 private:
  std::vector<Node> nodes_;
  ValueId output_ = -1;
};

/// Shape of one sample of what `attrs` makes from inputs of these shapes; ContractError as Graph::add.
[[nodiscard]] ImageShape infer_shape(const std::string& name, const Attrs& attrs, const std::vector<ImageShape>& inputs);

/// Multiply-accumulates for one sample: convolutions and linear layers, the rest counts as none.
[[nodiscard]] int64_t macs(const Graph& graph);
[[nodiscard]] int64_t macs(const Graph& graph, const Node& node);

}  // namespace elek
