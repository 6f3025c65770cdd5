// SPDX-License-Identifier: Apache-2.0
// Passes, run when a session is built, never while it runs: drop dead nodes, fold batch norm (in double), fuse conv + bias +
// residual + activation. What they make keeps the names of the graph's values, so that statistics and surgery speak of the
// same. Tests: tests/unit/passes_test.cpp
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "elek/graph.h"

namespace elek {

/// One step after fusion: node `name` of the graph with what follows it drawn in.
struct FusedNode {
  Node node;                        // the anchor (conv2d, linear, pool, add, …): its attrs; inputs as in the graph
  std::string batch_norm;           // the batch_norm node drawn in; empty if none
  ValueId input = -1;               // what it reads
  std::optional<ValueId> residual;  // value added before the activation (of a channel_scale: the factors); of an earlier step
  Activation activation;            // drawn in; none if the node itself is one
  ValueId preactivation = -1;       // the graph's value that is z = conv(x) + bias (batch_norm, else the anchor)
  ValueId output = -1;              // the graph's value that is stored
};

/// The steps in execution order over the graph's value ids. They are the same whether batch norm is folded or kept apart: that
/// is for conv_weights() and the backend. So both store the same values, and statistics have the same names. Values drawn into
/// a step (a conv's raw output under folding) are stored nowhere. A residual sum belongs to the last of its producers
/// ("projection last"). With an `order` (names of the steps' nodes, all of them: search_order() in plan/order.h) the steps run
/// in that order, and a sum belongs to whichever of its producers then comes last; ContractError if a step would read what is
/// not there yet.
struct FusedGraph {
  std::vector<FusedNode> steps;
  ValueId input = -1;
  ValueId output = -1;
};
[[nodiscard]] FusedGraph fuse(const Graph& graph, std::span<const std::string> order = {});

/// Weights and bias of a step as the kernel multiplies them: with kFold, w*gamma/sqrt(var+eps) and the matching bias, computed
/// in double; with kApart, as stored. Bias is all zero where there is none.
struct ConvWeights {
  Tensor weight;  // [K, C/groups, R, S] (linear: [out, in])
  Tensor bias;    // [K]
};
[[nodiscard]] ConvWeights conv_weights(const Model& model, const FusedNode& step, BatchNorm batch_norm,
                                       MemoryResource& resource);

}  // namespace elek
