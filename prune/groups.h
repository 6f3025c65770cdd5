// SPDX-License-Identifier: Apache-2.0
// Groups: the channels that must be cut together. Values tied by a residual sum, or by an operator that keeps channels apart,
// share one group; a convolution separates its input's group from its output's; a channel_map (option-A shortcut) ties nothing.
// Tests: tests/prune/groups_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/graph/graph.h"

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
  bool prunable = false;           // false: network input, or classifier output
  std::vector<ValueId> values;     // every value with these channels, in order
  std::vector<ValueId> taps;       // the ReLU outputs among them (else the last value): where coverage looks
  std::vector<ValueId> producers;  // convolutions whose output channels these are
  std::vector<GroupConsumer> consumers;
};
[[nodiscard]] std::vector<Group> find_groups(const Graph& graph);

}  // namespace elek
