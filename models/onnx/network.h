// SPDX-License-Identifier: Apache-2.0
// A network under construction: nodes and parameters that may still change. ONNX spreads over several nodes what elek has in
// one (a scale behind a convolution, three nodes for a channel map), so an imported node can still change the ones before it.
// finish() makes the graph, without the nodes that nothing reads.
// Must not know ONNX. Tests: tests/models/onnx_import_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elek/graph.h"

namespace elek::onnx {

/// y = x * scale + shift, one number per channel.
struct Affine {
  std::vector<double> scale;
  std::vector<double> shift;
};

class Network {
 public:
  /// `where` names the file in errors.
  Network(std::string where, MemoryResource& resource) : where_(std::move(where)), resource_(resource) {}

  /// Appends a node; its name gets a number if it is taken. InputError if the inputs do not fit, or there are too many nodes.
  ValueId add(const std::string& name, Attrs attrs, std::vector<ValueId> inputs);
  [[nodiscard]] const Node& node(ValueId value) const { return nodes_.at(static_cast<size_t>(value)); }
  [[nodiscard]] const ImageShape& shape(ValueId value) const { return node(value).shape; }
  /// True if a rectifier or a sigmoid makes the value, perhaps with pools behind it.
  [[nodiscard]] bool is_never_negative(ValueId value) const;
  /// A new parameter of a node, uninitialised.
  std::span<float> add_parameter(ValueId value, std::string_view suffix, const Shape& shape);

  // Changes to a node that only the caller reads. Each returns false, and changes nothing, if the node cannot take it in.

  /// Multiplies the node's outputs and adds to them, in its weights: convolutions, linear layers, batch norms.
  bool absorb(ValueId value, const Affine& affine);
  /// A channel map behind another one becomes one map of this name.
  bool absorb(ValueId value, const ChannelMapAttrs& next, const std::string& name);

  /// Graph and parameters of the nodes that lead to `output`. Contract: called once, last.
  [[nodiscard]] Model finish(ValueId output);

 private:
  [[nodiscard]] std::string unique(const std::string& name);
  void count_map(const ChannelMapAttrs& map);
  [[nodiscard]] std::span<float> parameter(const std::string& name) { return parameters_.at(name)->f32(); }

  std::string where_;
  MemoryResource& resource_;
  std::vector<Node> nodes_;
  std::set<std::string> names_;
  std::map<std::string, int> next_number_;  // of names that are taken
  size_t map_channels_ = 0;                 // of all channel maps so far
  std::map<std::string, std::shared_ptr<Tensor>> parameters_;
};

}  // namespace elek::onnx
