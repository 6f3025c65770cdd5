// SPDX-License-Identifier: Apache-2.0
// Groups: the channels that must be cut together. How channels pass a node, its operator says (ChannelFlow, graph/ops): those
// that tie channels put inputs and output into one group (a residual sum, batch norm, a pool, a depthwise convolution); a
// convolution separates its input's group from its output's; a channel_map (option-A shortcut) ties nothing.
// Tests: tests/prune/groups_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace elek {

/// A convolution or linear layer that reads a value of the group.
struct GroupConsumer {
  ValueId node = -1;   // the convolution or linear
  ValueId value = -1;  // what it reads
};
struct Group {
  std::string name;  // of its most telling value: the first tapped one, else the first
  int64_t channels = 0;
  int64_t conv_groups = 1;         // > 1: equal counts must stay in each of so many equal slices (ResNeXt)
  bool prunable = false;           // false: network input, classifier output, or ties that leave nothing to cut (find_groups)
  std::vector<ValueId> values;     // every value with these channels, in order
  std::vector<ValueId> taps;       // the activations among them (else the last value): where coverage looks
  std::vector<ValueId> producers;  // convolutions and linear layers whose output channels these are
  std::vector<GroupConsumer> consumers;
};

/// Every value's group, ordered by first value; taps, producers and consumers only name nodes that the output depends on.
/// * A depthwise convolution (groups == inputs == outputs > 1) keeps channels apart: it ties input and output, and is both
///   producer and consumer of the group.
/// * Another grouped convolution asks both its groups for equal counts a slice. Several such constraints in one group become
///   their least common multiple; where that does not divide the channels, or slices have one channel, nothing can be cut.
/// * Flattening HxW > 1 positions ties too: channel c is then elements [c*H*W, (c+1)*H*W) of the flat value (spread below).
[[nodiscard]] std::vector<Group> find_groups(const Graph& graph);

/// Index into `groups` of each value's group, by ValueId.
[[nodiscard]] std::vector<size_t> group_of_values(const Graph& graph, const std::vector<Group>& groups);

/// Index of the group with that name or with a value of that name. UsageError naming it if there is none.
[[nodiscard]] size_t find_group(const Graph& graph, const std::vector<Group>& groups, const std::string& name);

/// How many neighbouring elements of the value make one channel of its group: 1 but for what follows a flatten of an image.
[[nodiscard]] int64_t spread(const Graph& graph, const Group& group, ValueId value);

/// Convolutions and linear layers whose outputs are the network's answer: never cut without being asked for by name.
[[nodiscard]] bool is_classifier(const Graph& graph, const std::vector<Group>& groups, ValueId node);

/// A convolution with one filter a channel and as many outputs as inputs.
[[nodiscard]] bool is_depthwise(const Graph& graph, ValueId node);

}  // namespace elek
