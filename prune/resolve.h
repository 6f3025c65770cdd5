// SPDX-License-Identifier: Apache-2.0
// A plan, checked against a model and spelt out value by value: what apply() and masked() both start from. Internal to prune/.
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
  /// [value]: the channels kept of each value, ascending (all of them where nothing is cut).
  std::vector<std::vector<int64_t>> keep;
  std::map<std::string, const WeightCut*> weights;  // by node
  [[nodiscard]] bool cuts(const Graph& graph, ValueId value) const;
};

/// Checks everything: groups known, prunable and named once, channel counts right, keep lists strictly increasing, in range,
/// not empty, equally many in each slice; masks of known layers, of the right size, zeros counted, not all zero. ContractError
/// naming group or layer, expected, found.
[[nodiscard]] ResolvedPlan resolve(const Model& model, const PrunePlan& plan);

/// The model's parameters with the plan's weight cuts as zeros; all other tensors shared.
[[nodiscard]] Parameters zero_weights(const Model& model, const ResolvedPlan& plan, MemoryResource& resource);

}  // namespace elek
