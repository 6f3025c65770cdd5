// SPDX-License-Identifier: Apache-2.0
// Rounding kept counts by this machine's width-latency staircase (--round-to measured): kernels work on whole vectors of
// channels, so that a layer's time climbs in steps and the last channel of a step costs nothing.
// Tests: tests/prune/staircase_test.cpp
#pragma once

#include <cstdint>
#include <functional>

#include "engine/layer_times.h"
#include "prune/groups.h"

namespace elek {

/// Microseconds with so many channels kept.
using WidthTime = std::function<double(int64_t width)>;

/// The count nearest to `kept` from which one channel more (of each convolution group, where there are several) costs at least
/// 5 % more time, the three counts up to it all so much less than the three after it; ties up; `channels` itself is such a
/// count. Looked for no further than an eighth of the group and 16 channels away; where there is none (in wide layers a step is
/// less than that), what kept_count() makes of it with auto. ContractError unless 0 < conv_groups, kept <= channels.
[[nodiscard]] int64_t nearest_edge(int64_t channels, int64_t conv_groups, int64_t kept, const WidthTime& us);

/// The time of the convolutions that make or read the group's channels, with `width` of them and all else as it is.
[[nodiscard]] double group_us(const Graph& graph, const Group& group, int64_t width, LayerTimes& times);

}  // namespace elek
