// SPDX-License-Identifier: Apache-2.0
#include "cli/measured_rounding.h"

#include <memory>

#include "engine/layer_times.h"
#include "prune/staircase.h"

namespace elek::cli {

std::function<int64_t(const Graph&, const Group&, int64_t)> measured_rounding(Context& context) {
  const auto times = std::make_shared<LayerTimes>(context.session_options(1));
  return [times](const Graph& graph, const Group& group, int64_t kept) {
    return nearest_edge(group.channels, group.conv_groups, kept,
                        [&](int64_t width) { return group_us(graph, group, width, *times); });
  };
}

}  // namespace elek::cli
