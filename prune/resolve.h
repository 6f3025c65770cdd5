// SPDX-License-Identifier: Apache-2.0
// A plan that was checked against a model and written out for each value. apply() and masked() start from it. Internal to
// prune/.
// Tests: tests/prune/apply_test.cpp
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "prune/select.h"

namespace elek {

struct ResolvedPlan {
  /// [value]: its kept channels, ascending; all channels if it is not cut.
  std::vector<std::vector<int64_t>> keep;
  std::map<std::string, const WeightCut*> weights;  // by name of the node
  [[nodiscard]] bool cuts(const Graph& graph, ValueId value) const;
};

/// Checks that groups are known, prunable and named once, that channel counts are right, and that keep lists are strictly
/// increasing, in range, not empty and equally long in each convolution group. Masks must belong to known layers, have the
/// right size and number of zeros, and not be all zero. ContractError naming group or layer, expected and found.
[[nodiscard]] ResolvedPlan resolve(const Model& model, const PrunePlan& plan);

/// The model's parameters with the plan's weight cuts as zeros. All other tensors are shared.
[[nodiscard]] Parameters zero_weights(const Model& model, const ResolvedPlan& plan, MemoryResource& resource);

}  // namespace elek
