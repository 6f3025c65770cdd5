// SPDX-License-Identifier: Apache-2.0
// Groups: the channels that must be cut together. How channels pass a node, its operator says (ChannelFlow, graph/ops): those
// that tie channels put inputs and output into one group (a residual sum, batch norm, a pool, a depthwise convolution); a
// convolution separates its input's group from its output's; a channel_map (option-A shortcut) ties nothing.
// Tests: tests/prune/groups_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"

namespace elek {

/// A convolution with one filter a channel and as many outputs as inputs.
[[nodiscard]] bool is_depthwise(const Graph& graph, ValueId node);

}  // namespace elek
