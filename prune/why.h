// SPDX-License-Identifier: Apache-2.0
// Why each channel of a group stays or goes, or how many weights each input channel of a layer keeps: the sums that the
// criterion read, the score, the rank, and whether it stays. Plain data. Reads the plan of the cut and decides nothing.
// Tests: tests/prune/why_test.cpp
#pragma once

#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/statistics.h"

namespace elek {

/// Numbers for each channel under one name.
struct WhyColumn {
  std::string name;
  std::vector<double> values;  // [channels]
  bool counts = false;         // whole numbers
};
/// The numbers from one watched value, or from one layer that reads the channels.
struct WhySource {
  std::string name;       // of the value or the layer
  bool is_layer = false;  // its columns are then norms of the layer's inputs and squares of its weights
  int64_t positions = 0;  // of a value: the number of elements per channel that were summed
  int64_t samples = 0;
  std::vector<WhyColumn> columns;
};
struct Why {
  std::string name;                             // the group, or the layer whose weights were removed
  std::string criterion;                        // of channels; empty for weights
  int64_t conv_groups = 1;                      // of the group: equally many channels stay in each
  std::vector<std::string> producers, readers;  // layers that make the group's channels, and that read them
  int64_t weights = 0;                          // of the layer
  std::vector<WhySource> sources;
  std::vector<double> scores;     // [channels]
  std::vector<int64_t> rank;      // [channels], 1 = lowest score: removed first
  std::vector<int64_t> kept, of;  // [channels]: 1 of 1 or 0 of 1; for weights the kept weights of all
};

/// UsageError if there is nothing to explain under this name: the group cannot be cut, or the layer has no weights that can be
/// cut. Reads no images.
void check_why(const std::string& name, const Model& model, const CutOptions& options);

/// Explains the group of that name (or with a value of that name) under a channel criterion. UsageError if there is no such
/// group. The evidence must be what the criterion needs.
[[nodiscard]] Why why_channels(const std::string& name, const Model& dense, const Evidence& evidence,
                               const Criterion& criterion, const PrunePlan& plan, uint64_t seed);
/// Explains a convolution or linear layer under Wanda on weights, one row per input channel. Single weights compete; the scores
/// are a summary: the square root of the sum of w^2 * norm^2 over an input channel's weights. ContractError without the norms
/// of the layer's inputs.
[[nodiscard]] Why why_weights(const std::string& name, const Model& dense, const Statistics& statistics, const PrunePlan& plan);

}  // namespace elek
