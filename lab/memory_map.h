// SPDX-License-Identifier: Apache-2.0
// The memory map: an SVG that shows where each allocation strategy puts every tensor of a run. Vertical: offset in memory.
// Horizontal: time, one step of the network after the other. One rectangle per tensor; its name appears on hover and, if there
// is room, on the rectangle. The lower bound is a dashed line. A bar chart shows what each strategy reserves, on one scale.
// Kinds differ in lightness, so the map can be printed in grey.
// Tests: tests/unit/replay_test.cpp, tests/cli/memory_test.cpp
#pragma once

#include <span>
#include <string>

#include "lab/replay.h"

namespace elek {

struct MapOptions {
  std::string title;
  size_t lower_bound_bytes = 0;
  int32_t peak_step = -1;  // the step that sets the bound, to be marked; -1: none
  bool one_scale = false;  // of bytes, for all panels; otherwise each has its own
};

/// One SVG document of 1600 x 900 units, up to four panels in the given order. One panel alone is large, with the curve of
/// bytes alive above it and the tensors of the peak beside it. Replays without offsets (malloc) are left out.
[[nodiscard]] std::string memory_map_svg(const Trace& trace, std::span<const Replay> replays, const MapOptions& options);

}  // namespace elek
