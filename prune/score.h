// SPDX-License-Identifier: Apache-2.0
// Scoring by a criterion, behind score_channels() (elek/prune.h): where a value is watched, and whether given sums are the ones
// that are needed. Nothing here runs the network. Definitions: docs/criteria.md.
// Tests: tests/prune/score_test.cpp
#pragma once

#include <cstdint>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/statistics.h"
#include "prune/groups.h"

namespace elek {

/// The value to watch in place of `value`: the same numbers, where they are stored. A flatten of 1x1 moves nothing, so what it
/// reads is watched instead.
[[nodiscard]] ValueId watched_value(const Graph& graph, ValueId value);

/// Refuses statistics that are not of this model, hold no sample, or (InputError too) lack what `probes` asks for, have another
/// channel count, or saw a NaN or infinite activation. Messages name value, expected, found and what to do.
void check_statistics(const Model& model, const Statistics& statistics, const Probes& probes);

}  // namespace elek
