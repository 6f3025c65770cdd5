// SPDX-License-Identifier: Apache-2.0
// The interactive memory map: one HTML file with its data, styles and script inside; it asks no network. The script and the
// styles are lab/page/.
// Tests: tests/lab
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "lab/replay.h"

namespace elek {

/// One trace, and where some allocators put its blocks. Replays without offsets are left out.
struct MapSet {
  std::string name;
  Trace trace;
  std::vector<Replay> replays;
};
/// Bytes against a number that was varied: one line of a plot for each series.
struct MapSweep {
  struct Row {
    int64_t x = 0;
    std::vector<size_t> bytes;  // one for each series
  };
  std::string title;
  std::string x_label;
  std::string note;
  std::vector<std::string> series;
  std::vector<Row> rows;
};
struct MapPage {
  std::string title;
  std::vector<std::pair<std::string, size_t>> session;  // drawn to scale above the map
  std::vector<std::pair<std::string, size_t>> weights;  // of each layer, drawn beside the map
  std::vector<MapSet> sets;                             // one, or two to switch between: with and without workspace
  std::vector<MapSweep> sweeps;
};

/// ContractError without a set, or with one that has no step or no replay to draw.
[[nodiscard]] std::string map_page_html(const MapPage& page);

}  // namespace elek
