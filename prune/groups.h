// SPDX-License-Identifier: Apache-2.0
// Groups: the channels that must be cut together. Each operator says how channels pass it (ChannelFlow, graph/ops). Some
// operators tie their inputs and output into one group: a residual sum, batch norm, a pool, a depthwise convolution. A
// convolution separates its input's group from its output's. A channel_map (option-A shortcut) ties nothing.
// Tests: tests/prune/groups_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"

namespace elek {

/// A convolution with one filter per channel and equally many inputs and outputs.
[[nodiscard]] bool is_depthwise(const Graph& graph, ValueId node);

}  // namespace elek
