// SPDX-License-Identifier: Apache-2.0
// The block target of the refit. A convolution whose output goes into a residual sum, at most through a batch norm, can
// compensate the errors of the sum's other operands. Its target is then the dense network's sum minus these operands:
//
//   z = (sum_dense - rest_pruned - shift) / scale     with  sum = scale * z + shift + rest,   scale and shift of the batch norm
//
// This equals z_dense + (rest_dense - rest_pruned) / scale. Each sum has one such layer: the last one that is fitted of all
// layers that the sum depends on. Only then the other operands are final. Finds layers and numbers; runs no network.
// Tests: tests/prune/block_target_test.cpp
#pragma once

#include <optional>
#include <vector>

#include "elek/graph.h"
#include "prune/moments.h"

namespace elek {

/// The residual sum that one layer completes.
struct BlockTarget {
  ValueId sum = -1;
  ValueId norm = -1;          // the batch norm between the layer and the sum; -1: none
  std::vector<ValueId> rest;  // the sum's other operands; several if it is a sum of sums
};

/// The block target of `layer`; nothing if it keeps its own target. `fitted[v]`: the refit changes layer v. `differs[v]`: value
/// v differs from the dense network's. A layer keeps its own target if
/// * its output goes into no sum, or passes anything but a batch norm before it (activation, pool, gate, channel map),
/// * a layer that is fitted later contributes to the sum too, or
/// * the sum's other operands are those of the dense network: both targets are then the same.
[[nodiscard]] std::optional<BlockTarget> block_target(const Graph& graph, ValueId layer, const std::vector<bool>& fitted,
                                                      const std::vector<bool>& differs);

/// How each output of the layer follows from what is left of the sum. A channel that the batch norm multiplies by (almost) zero
/// cannot make anything good: its output hardly changes whatever it fits, so it gets no factor.
[[nodiscard]] std::vector<TargetScale> target_scales(const Model& model, const BlockTarget& target);

}  // namespace elek
