// SPDX-License-Identifier: Apache-2.0
// Passes run when a session is built, never while it runs: drop dead nodes, fold batch norm (in double), fuse conv + bias +
// residual + activation. Results keep the names of the graph's values, so that statistics and pruning use the same names.
// Tests: tests/unit/passes_test.cpp
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "elek/graph.h"

namespace elek {

/// One step after fusion: a node of the graph with the nodes joined to it.
struct FusedNode {
  Node node;                        // the first node (conv2d, linear, pool, add, …): its attrs; inputs as in the graph
  std::string batch_norm;           // the batch_norm node joined to it; empty if none
  ValueId input = -1;               // what it reads
  std::optional<ValueId> residual;  // added before the activation; of a channel_scale or concat: the second input
  std::vector<ValueId> more;        // further inputs, of a concat
  Activation activation;            // joined to the node; none if the node itself is one
  ValueId preactivation = -1;       // the graph's value z = conv(x) + bias (after batch_norm, if joined)
  ValueId output = -1;              // the graph's value that is stored
};

/// The steps in execution order, over the graph's value ids. They are the same whether batch norm is folded or kept apart,
/// because only conv_weights() and the backend treat it differently. So both store the same values, and statistics have the
/// same names. Values inside a step (a conv's raw output under folding) are not stored. A residual sum belongs to the producer
/// that runs last ("projection last").
/// With an `order` (names of the nodes of all steps: search_order() in plan/order.h) the steps run in that order, and a sum
/// belongs to the producer that then comes last. ContractError if a step would read a value that no step before it makes.
struct FusedGraph {
  std::vector<FusedNode> steps;
  ValueId input = -1;
  ValueId output = -1;
};
[[nodiscard]] FusedGraph fuse(const Graph& graph, std::span<const std::string> order = {});

/// Weights and bias of a step as the kernel multiplies them. kFold: w*gamma/sqrt(var+eps) and the matching bias, computed in
/// double. kApart: as stored. The bias is zero if the step has none.
struct ConvWeights {
  Tensor weight;  // [K, C/groups, R, S] (linear: [out, in])
  Tensor bias;    // [K]
};
[[nodiscard]] ConvWeights conv_weights(const Model& model, const FusedNode& step, BatchNorm batch_norm,
                                       MemoryResource& resource);

/// scale = gamma / sqrt(var + eps), shift = beta - mean * scale of a batch norm, [channels] each, computed in double.
/// ContractError if it has another number of channels.
void normalisation(const Model& model, const std::string& batch_norm, int64_t channels, float* scale, float* shift);

}  // namespace elek
