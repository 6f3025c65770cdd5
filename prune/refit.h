// SPDX-License-Identifier: Apache-2.0
// Repair by least squares, without training and without labels: every layer that reads repaired or pruned inputs gets the
// weights and bias that best reproduce, on the calibration images, what the dense network's layer computed.
//
//   minimise  sum |z_dense - (W * x_pruned + b)|^2 + lambda |W|^2      lambda = kRidge * mean diagonal of sum u u^T
//
// In graph order, the classifier last, so that x_pruned is what the already repaired predecessors really make. Each layer is
// one pass over the images through two networks cut off at that layer (the dense one after the raw convolution, the pruned one
// before it): no activation outlives its batch, and memory does not depend on how many images there are.
// Tests: tests/prune/refit_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/evaluate.h"
#include "engine/graph/model.h"
#include "engine/session.h"
#include "prune/moments.h"
#include "prune/select.h"

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
  double macs_an_image = 0;   // of all passes and products
  double dense_passes = 0;    // the same, in passes of the dense network
};
/// `pruned` = apply(dense, plan, …), not repaired otherwise. Layers: all whose inputs differ from the dense network's, or whose
/// own weights are masked. ContractError if the two networks are not of one graph.
[[nodiscard]] RefitPlan plan_refit(const Model& dense, const Model& pruned, const PrunePlan& plan, int threads);

/// The repaired model; tensors it does not change are shared, preprocessing, labels and history are the pruned model's.
/// The bias goes into running_mean where a batch norm alone reads the convolution, into the layer's bias where it has one; a
/// layer with neither is fitted without. Weights that are zero stay zero. `options` gives device, largest batch, threads and
/// memory (everything comes from it); probes and batch-norm mode are set here. `progress` counts samples over all layers.
/// InputError naming the layer if a moment is NaN or infinite or the system cannot be solved, or if no batch came.
[[nodiscard]] Model refit(const Model& dense, const Model& pruned, const PrunePlan& plan, BatchSource& calibration,
                          SessionOptions options, const Progress& progress, double ridge = kRidge);

}  // namespace elek
