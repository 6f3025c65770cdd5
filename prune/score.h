// SPDX-License-Identifier: Apache-2.0
// The parts of score_channels() (elek/prune.h): which value is watched, and whether given sums are the needed ones. Nothing
// here runs the network. Definitions: docs/criteria.md.
// Tests: tests/prune/score_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/statistics.h"
#include "prune/groups.h"

namespace elek {

/// The stored value that holds the same numbers as `value`: a flatten of 1x1 moves nothing, so its input is watched.
[[nodiscard]] ValueId watched_value(const Graph& graph, ValueId value);

/// Adds the tap norms of the layer's input to what is watched; once, even if several groups ask for them.
void watch_inputs(const Graph& graph, ValueId node, Probes& probes);

/// Refuses statistics of another model or without samples. InputError too if they lack a set that `probes` asks for, have
/// another channel count, or contain a NaN or infinite activation. Messages name value, expected, found, and what to do.
void check_statistics(const Model& model, const Statistics& statistics, const Probes& probes);

}  // namespace elek
