// SPDX-License-Identifier: Apache-2.0
// --why NAME: why each channel of a group stays or goes, or how many weights each input channel of a layer keeps: the sums that
// its criterion read, its score, its rank, and whether it stays. Reads the plan that the cut uses and decides nothing.
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
/// The numbers from one watched value or one reading layer.
struct WhySource {
  std::string what;  // "value layer2.0: 50,176 positions of 64 images"
  std::string name;
  std::vector<WhyColumn> columns;
};
struct Why {
  std::string name;  // the group, or the layer whose weights were removed
  std::string text;  // a line or two about it
  std::vector<WhySource> sources;
  std::vector<double> scores;     // [channels]
  std::vector<int64_t> rank;      // [channels], 1 = lowest score: removed first
  std::vector<int64_t> kept, of;  // [channels]: 1 of 1 or 0 of 1; for weights the kept weights of all
};

/// UsageError if there is nothing to explain under this name: checked before any work.
void check_why(const std::string& name, const Model& model, const CutOptions& what);

/// Explains the group of that name (or with a value of that name) under a channel criterion. UsageError if there is no such
/// group or it cannot be cut. The evidence must be what the criterion needs.
[[nodiscard]] Why why_channels(const std::string& name, const Model& dense, const Evidence& evidence,
                               const Criterion& criterion, const PrunePlan& plan, uint64_t seed);
/// Explains a convolution or linear layer under Wanda on weights, one row per input channel.
[[nodiscard]] Why why_weights(const std::string& name, const Model& dense, const Statistics& statistics, const PrunePlan& plan);

/// One table per source, lowest score first, at most 100 columns wide if names are not very long.
[[nodiscard]] std::string why_text(const Why& why);
/// Arrays by channel.
[[nodiscard]] Json why_json(const Why& why);

}  // namespace elek::cli
