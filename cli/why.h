// SPDX-License-Identifier: Apache-2.0
// --why NAME: why each channel of a group stays or goes (or, for weights, what each input channel of a layer keeps): the sums
// its criterion read, its score, its rank among the others and its fate. Reads the plan that the cut uses; decides nothing.
// Tests: tests/cli/why_test.cpp
#pragma once

#include <string>
#include <vector>

#include "cli/output.h"
#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/statistics.h"
#include "prune/select.h"

namespace elek::cli {

/// Numbers for each channel under one name.
struct WhyColumn {
  std::string name;
  std::vector<double> values;  // [channels]
  bool counts = false;         // whole numbers
};
/// What one watched value or one reading layer has to say.
struct WhySource {
  std::string what;  // "value layer2.0: 50,176 positions of 64 images"
  std::string name;
  std::vector<WhyColumn> columns;
};
struct Why {
  std::string name;  // the group, or the layer whose weights went
  std::string text;  // a line or two about it
  std::vector<WhySource> sources;
  std::vector<double> scores;     // [channels]
  std::vector<int64_t> rank;      // [channels], 1 = lowest score: the first to go
  std::vector<int64_t> kept, of;  // [channels]: 0 or 1 of 1; for weights how many of how many
};

/// Explains the group of that name (or of a value in it) under a channel criterion. UsageError for a name that is none and for
/// a group that is never cut. The evidence must be what the criterion asks for.
[[nodiscard]] Why why_channels(const std::string& name, const Model& dense, const Evidence& evidence,
                               const Criterion& criterion, const PrunePlan& plan, uint64_t seed);
/// Explains a convolution or linear layer, input channel by input channel, under Wanda on weights.
[[nodiscard]] Why why_weights(const std::string& name, const Model& dense, const Statistics& statistics, const PrunePlan& plan);

/// One table a source, lowest score first, at most 100 columns wide for names of usual length.
[[nodiscard]] std::string why_text(const Why& why);
/// Arrays by channel.
[[nodiscard]] Json why_json(const Why& why);

}  // namespace elek::cli
