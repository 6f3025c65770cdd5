// SPDX-License-Identifier: Apache-2.0
// The memory map: where each way to allocate puts every tensor of a run, drawn as SVG. Up: offset in memory. Right: time, one
// step of the network after the other. One rectangle a tensor, named on hover and, where there is room, on itself; the lower
// bound dashed; a bar chart of what each way reserves, on one scale. Lightness tells the kinds apart, so that it prints in
// grey. Tests: tests/cli/memory_test.cpp
#pragma once

#include <span>
#include <string>

#include "lab/replay.h"

namespace elek {

struct MapOptions {
  std::string title;
  size_t lower_bound_bytes = 0;
  int32_t peak_step = -1;  // the step that sets the bound: marked where it is met; -1: none
};

/// One SVG document of 1600 x 900 units, up to four panels in the order given. Replays without offsets (malloc) are left out.
[[nodiscard]] std::string memory_map_svg(const Trace& trace, std::span<const Replay> replays, const MapOptions& options);
/// The same inside an HTML page that fills the window.
[[nodiscard]] std::string memory_map_html(const Trace& trace, std::span<const Replay> replays, const MapOptions& options);

}  // namespace elek
