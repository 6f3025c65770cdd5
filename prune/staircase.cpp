// SPDX-License-Identifier: Apache-2.0
// Tests: tests/prune/staircase_test.cpp
#include "prune/staircase.h"

#include <algorithm>
#include <limits>

#include "core/error.h"
#include "prune/counts.h"
#include "prune/groups.h"

namespace elek {
namespace {

/// Two timings of one kernel differ by less than this; where steps matter they are far larger.
constexpr double kStep = 1.05;
/// A step counts only if this many counts on either side agree, because a single timing may be wrong by as much.
constexpr int64_t kCounts = 3;
/// A count moves by at most the lanes of one vector, and by less in narrow groups.
constexpr int64_t kFarthest = 16;
constexpr int64_t kNarrow = 8;

}  // namespace

int64_t nearest_edge(int64_t channels, int64_t conv_groups, int64_t kept, const WidthTime& us) {
  ELEK_CHECK(conv_groups > 0 && channels % conv_groups == 0 && kept > 0 && kept <= channels,
             "nearest_edge: " + std::to_string(kept) + " of " + std::to_string(channels) + " channels in " +
                 std::to_string(conv_groups) + " convolution groups");
  const int64_t reach = std::max(conv_groups, std::min(kFarthest, channels / kNarrow));
  const auto is_edge = [&](int64_t width) {
    if (width == channels) return true;
    double before = 0, after = std::numeric_limits<double>::infinity();
    for (int64_t i = 0; i < kCounts; ++i) {
      if (const int64_t w = width - i * conv_groups; w > 0) before = std::max(before, us(w));
      if (const int64_t w = width + (i + 1) * conv_groups; w <= channels) after = std::min(after, us(w));
    }
    return after >= kStep * before;
  };
  const auto is_count = [&](int64_t width) { return width > 0 && width <= channels && width % conv_groups == 0; };
  for (int64_t away = 0; away <= reach; ++away) {
    for (const int64_t width : {kept + away, kept - away}) {
      if (is_count(width) && is_edge(width)) return width;
    }
  }
  return kept_count(channels, channels - kept, conv_groups, 0);
}

namespace {

/// Channels of the value if the group keeps `width` and the other groups in it keep all.
int64_t channels_with(const Graph& graph, const Group& group, ValueId value, int64_t width) {
  int64_t channels = graph.node(value).shape.channels;
  for (const GroupSegment& each : segments_in(group, value)) channels += each.count / group.channels * (width - group.channels);
  return channels;
}

}  // namespace

double group_us(const Graph& graph, const Group& group, int64_t width, LayerTimes& times) {
  double total = 0;
  const auto input_of = [&](const Node& node) { return graph.node(node.inputs.front()).shape; };
  for (const ValueId id : group.producers) {
    const Node& node = graph.node(id);
    if (!node.is<Conv2dAttrs>()) continue;
    Conv2dAttrs conv = node.as<Conv2dAttrs>();
    ImageShape input = input_of(node);
    conv.out_channels = channels_with(graph, group, id, width);
    if (is_depthwise(graph, id)) input.channels = conv.groups = conv.out_channels;
    total += times.us(input, conv);
  }
  for (const GroupConsumer& consumer : group.consumers) {
    const Node& node = graph.node(consumer.node);
    if (!node.is<Conv2dAttrs>() || is_depthwise(graph, consumer.node)) continue;  // depthwise: counted as a producer
    ImageShape input = input_of(node);
    input.channels = channels_with(graph, group, consumer.value, width);
    total += times.us(input, node.as<Conv2dAttrs>());
  }
  return total;
}

}  // namespace elek
