// SPDX-License-Identifier: Apache-2.0
// Scoring by a criterion (elek/prune.h): which sums to take for it, whether given sums are those, and the scores. Nothing
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

/// The value to watch in place of `value`: the same numbers, where they are stored. A flatten of 1x1 moves nothing, so what it
/// reads is watched instead.
[[nodiscard]] ValueId watched_value(const Graph& graph, ValueId value);

/// What to watch so that score_channels(criterion) has its sums; empty where it needs none. UsageError if the criterion cannot
/// be watched on that tap: raw convolutions (Tap::kConv) are not what layers read.
[[nodiscard]] Probes probes_for(const Criterion& criterion, const Graph& graph, Tap tap = Tap::kRelu);
/// What Wanda on weights needs: the tap norms of every convolution and linear layer but the classifier.
[[nodiscard]] Probes probes_for_weights(const Graph& graph);

/// Refuses statistics that are not of this model, hold no sample, or (InputError too) lack what `probes` asks for, have another
/// channel count, or saw a NaN or infinite activation. Messages name value, expected, found and what to do.
void check_statistics(const Model& model, const Statistics& statistics, const Probes& probes);

/// The criterion's scores of every group. InputError as check_statistics(), or if the sums are of another tap than it reads;
/// ContractError if the evidence lacks measured costs that it needs. `seed` matters to criteria that draw.
[[nodiscard]] Scores score_channels(const Model& model, const std::vector<Group>& groups, const Criterion& criterion,
                                    const Evidence& evidence, uint64_t seed);

}  // namespace elek
