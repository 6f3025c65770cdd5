// SPDX-License-Identifier: Apache-2.0
// Repair by least squares, without training and without labels: every layer that reads repaired or pruned inputs gets the
// weights and bias that best reproduce, on the calibration images, what the dense network's layer computed.
//
//   minimise  sum |z_dense - (W * x_pruned + b)|^2 + lambda |W|^2      lambda = kRidge * mean diagonal of sum u u^T
//
// In graph order, the classifier last, so that x_pruned is what the already repaired predecessors really make. Each layer is
// one pass over the images through parts of two networks (the dense one up to the raw convolution, the pruned one up to its
// input). Both networks' activations at the last block's input are kept for all images where they fit a budget, so that a pass
// runs a part of one block (prune/trail.h); where they do not, it starts further back, at worst from the images, and memory
// then does not depend on how many there are. What is fitted is the same either way.
// Tests: tests/prune/refit_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/session.h"
#include "prune/moments.h"
#include "prune/select.h"
#include "prune/trail.h"

namespace elek {

/// One layer of the repair, in order.
struct RefitLayer {
  ValueId node = -1;
  ValueId bias_node = -1;  // whose parameter takes the bias: a batch norm's running_mean, the layer's own bias, or none (-1)
  bool sparse = false;     // some of its weights are zero and stay so
  FitShape shape;
};
/// What a refit will do and hold; plain data, so that it can be told before it starts.
struct RefitPlan {
  std::vector<RefitLayer> layers;
  size_t moments_bytes = 0;   // of the layer that needs most, beside the two sessions
  std::string moments_layer;  // which one that is
  KeptValues kept;            // of the dense and the pruned network
  double macs_an_image = 0;   // of all passes and products
  double dense_passes = 0;    // the same, in passes of the dense network
};
/// How one layer reads its input, without outputs: a convolution, or a linear layer as a 1x1 kernel.
[[nodiscard]] FitShape input_shape_of(const Graph& graph, ValueId node);
/// `asked`, or the machine's.
[[nodiscard]] int thread_count(int asked);

struct RefitOptions {
  double ridge = kRidge;
  size_t checkpoint_bytes = 0;  // at most so many bytes of activations are kept
};

/// `pruned` = apply(dense, plan, …), not repaired otherwise. Layers: all whose inputs differ from the dense network's, or whose
/// own weights are masked. `samples` images; at most `checkpoint_bytes` of activations kept. ContractError if the two networks
/// are not of one graph.
[[nodiscard]] RefitPlan plan_refit(const Model& dense, const Model& pruned, const PrunePlan& plan, int threads, int64_t samples,
                                   size_t checkpoint_bytes);

/// The repaired model; tensors it does not change are shared, preprocessing, labels and history are the pruned model's.
/// The bias goes into running_mean where a batch norm alone reads the convolution, into the layer's bias where it has one; a
/// layer with neither is fitted without. Weights that are zero stay zero. `options` gives device, largest batch, threads and
/// memory (everything comes from it; sessions that find no room for large slices take smaller ones); probes and batch-norm mode
/// are set here. `progress` counts samples over all layers.
/// InputError naming the layer if a moment is NaN or infinite or the system cannot be solved, or if no batch came.
[[nodiscard]] Model refit(const Model& dense, const Model& pruned, const PrunePlan& plan, BatchSource& calibration,
                          const SessionOptions& options, const Progress& progress, const RefitOptions& how = {});

}  // namespace elek
