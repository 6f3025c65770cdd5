// SPDX-License-Identifier: Apache-2.0
// Rounds kept counts to the steps of this machine's times (--round-to measured). Kernels work on whole vectors of channels, so
// a layer's time grows in steps, and the last channels of a step cost nothing.
// Tests: tests/prune/staircase_test.cpp
#pragma once

#include <cstdint>
#include <functional>

#include "engine/layer_times.h"
#include "prune/groups.h"

namespace elek {

/// Microseconds if this many channels are kept.
using WidthTime = std::function<double(int64_t width)>;

/// Rounds `kept` to a step of the measured time. A count is a step if one more channel (one per convolution group) takes at
/// least 5 % longer: the times of the three counts up to it must all be that much below the three after it. `channels` always
/// counts as a step. Takes the nearest step, ties up, at most an eighth of the group and 16 channels away. If there is none (in
/// wide layers a step is less than 5 %), returns kept_count() with auto. ContractError unless 0 < conv_groups and kept <=
/// channels.
[[nodiscard]] int64_t nearest_edge(int64_t channels, int64_t conv_groups, int64_t kept, const WidthTime& us);

/// The time of the convolutions that make or read the group's channels, if the group has `width` channels and nothing else
/// changes.
[[nodiscard]] double group_us(const Graph& graph, const Group& group, int64_t width, LayerTimes& times);

}  // namespace elek
