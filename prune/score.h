// SPDX-License-Identifier: Apache-2.0
// Scores: one number a channel, high = keep. probes_for() says what a criterion must watch; score_channels() turns statistics
// and weights into scores; nothing here runs the network. Definitions: docs/criteria.md.
// Tests: tests/prune/score_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/statistics.h"
#include "graph/model.h"
#include "prune/groups.h"

namespace elek {

enum class Criterion : uint8_t {
  kStdConsumer,
  kPositions,
  kRms,
  kStd,
  kFrequency,  // the seed's four, exactly
  kNormalizedMean,
  kMeanAbsolute,
  kCombined,
  kWanda,
  kWandaSeed,  // the seed's Wanda on channels: a producer's weights times its mean activation
  kMagnitude,  // L2
  kMagnitudeL1,
  kRandom,
  kRefit  // costs, not scores of statistics: prune/refit_costs.h
};
[[nodiscard]] Criterion criterion_from_name(const std::string& name);  // UsageError listing the names
[[nodiscard]] std::string name_of(Criterion criterion);
[[nodiscard]] std::vector<Criterion> all_criteria();  // in the order of the names

/// The value to watch in place of `value`: the same numbers, where they are stored. A flatten of 1x1 moves nothing, so what it
/// reads is watched instead.
[[nodiscard]] ValueId watched_value(const Graph& graph, ValueId value);

/// What to watch so that score_channels(criterion) has its sums. Empty for magnitude, random and refit. Tap kConv looks at raw
/// convolutions, as the seed hooked them; criteria about what consumers read (std-consumer, wanda) have no such form:
/// UsageError.
[[nodiscard]] Probes probes_for(Criterion criterion, const Graph& graph, Tap tap = Tap::kRelu);
/// What Wanda on weights needs: the tap norms of every convolution and linear layer but the classifier.
[[nodiscard]] Probes probes_for_weights(const Graph& graph);

/// Refuses statistics that are not of this model, hold no sample, or (InputError too) lack what `probes` asks for, have another
/// channel count, or saw a NaN or infinite activation. Messages name value, expected, found and what to do.
void check_statistics(const Model& model, const Statistics& statistics, const Probes& probes);

/// scores[g][c] for every group; empty for groups that are not prunable. InputError as check_statistics(). `seed` matters to
/// random only: each group draws from its own generator, seeded by its name. ContractError for kRefit.
[[nodiscard]] std::vector<std::vector<double>> score_channels(const Model& model, const std::vector<Group>& groups,
                                                              Criterion criterion, const Statistics& statistics, uint64_t seed);

}  // namespace elek
