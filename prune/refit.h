// SPDX-License-Identifier: Apache-2.0
// Repair by least squares, without training and without labels: every layer that reads repaired or pruned inputs gets the
// weights and bias that best reproduce, on the calibration images, what the dense network's layer computed.
//
//   minimise  sum |z_dense - (W * x_pruned + b)|^2 + lambda |W|^2      lambda = kRidge * mean diagonal of sum u u^T
//
// Layers are fitted in graph order, the classifier last, so x_pruned is what the layers repaired so far really compute. Each
// layer needs one pass over the images through parts of two networks: the dense one up to the raw convolution, the pruned one
// up to the layer's input. If memory allows, both networks' activations at the input of the last block are kept for all images,
// and a pass runs only a part of one block (prune/trail.h). Otherwise it starts further back, at worst from the images, and
// memory does not depend on their number. The fit is the same.
//
// Errors add up along the shortcuts of a residual network. With the block target (prune/block_target.h) the layer that
// completes a residual sum fits the dense sum minus the other operands, not its own dense output. Tests:
// tests/prune/refit_test.cpp
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "elek/graph.h"
#include "elek/session.h"
#include "prune/block_target.h"
#include "prune/moments.h"
#include "prune/select.h"
#include "prune/trail.h"

namespace elek {

/// One layer of the repair, in order.
struct RefitLayer {
  ValueId node = -1;
  ValueId bias_node = -1;  // whose parameter takes the bias: a batch norm (its running_mean), the layer itself, or none (-1)
  bool sparse = false;     // some of its weights are zero and must stay zero
  FitShape shape;
  std::optional<BlockTarget> block;  // empty: the target is the layer's own dense output
};
/// The work and memory of a refit. Plain data, so that it can be printed before the refit starts.
struct RefitPlan {
  std::vector<RefitLayer> layers;
  size_t moments_bytes = 0;   // largest of all layers, beside the two sessions
  std::string moments_layer;  // the layer that needs them
  KeptValues kept;            // of the dense and the pruned network
  size_t sessions = 2;        // most at one time
  int64_t block_targets = 0;  // layers with the block target
  double macs_an_image = 0;   // of all passes and products
  double dense_passes = 0;    // the same, in passes of the dense network
};
/// The input of one layer, without outputs. A linear layer is a 1x1 kernel.
[[nodiscard]] FitShape input_shape_of(const Graph& graph, ValueId node);
/// `asked`, or the machine's number of threads if that is 0.
[[nodiscard]] int thread_count(int asked);

struct RefitOptions {
  double ridge = kRidge;
  size_t checkpoint_bytes = 0;  // largest size of the kept activations
  RefitTarget target = kDefaultRefitTarget;
};

/// Plans the refit of `pruned` = apply(dense, plan, …), before any other repair. Its layers are those whose inputs differ from
/// the dense network's or whose own weights are masked. `options`: threads and device of the passes; `samples`: number of
/// images. ContractError if the two networks do not have the same graph.
[[nodiscard]] RefitPlan plan_refit(const Model& dense, const Model& pruned, const PrunePlan& plan,
                                   const SessionOptions& options, int64_t samples, const RefitOptions& how);

/// Returns the repaired model. Unchanged tensors are shared; preprocessing, labels and history are the pruned model's. The bias
/// goes into running_mean if a batch norm is the convolution's only reader, otherwise into the layer's own bias. A layer with
/// neither is fitted without a bias. Weights that are zero stay zero. `options` gives device, largest batch, threads and memory
/// (all memory comes from it; sessions use smaller micro-batches if large ones do not fit). Probes and batch-norm mode are set
/// here. `progress` counts samples over all layers.
/// InputError naming the layer if a moment is NaN or infinite or the system cannot be solved, and if there was no batch.
[[nodiscard]] Model refit(const Model& dense, const Model& pruned, const PrunePlan& plan, BatchSource& calibration,
                          const SessionOptions& options, const Progress& progress, const RefitOptions& how = {});

}  // namespace elek
