// SPDX-License-Identifier: Apache-2.0
// Repair without training and without labels: the kinds of repair, and batch-norm re-estimation over the calibration batches
// (PyTorch's train-mode forward with momentum=None). The least-squares refit is in prune/refit.h.
// Tests: tests/prune/repair_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/session.h"

namespace elek {

/// Returns the model with running_mean and running_var replaced by the mean moments of its own batches; a channel of zero
/// variance keeps its old statistics. `options` gives device, batch, threads and memory; probes and batch-norm mode are set
/// here. Runs up to `max_batches` batches, 0 = all. A model without batch norm is returned unchanged, with a warning. All other
/// tensors are shared; preprocessing, labels and history stay the model's. InputError naming the layer if a moment is NaN or
/// infinite, and if there was no batch.
[[nodiscard]] Model reestimate_batch_norm(const Model& model, BatchSource& calibration, int64_t max_batches,
                                          SessionOptions options, const Progress& progress);

/// The same from given moments: only the part that changes the model.
[[nodiscard]] Model with_batch_moments(const Model& model, const std::vector<BatchMoments>& moments, MemoryResource& resource);

}  // namespace elek
