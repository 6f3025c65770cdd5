// SPDX-License-Identifier: Apache-2.0
// Repair without training and without labels: the kinds there are, and batch-norm re-estimation over the calibration batches
// (PyTorch's train-mode forward with momentum=None). The least-squares refit, the default, is in prune/refit.h.
// Tests: tests/prune/repair_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "elek/graph.h"
#include "elek/prune.h"
#include "elek/session.h"

namespace elek {

/// The model with running_mean and running_var replaced by the averaged moments of its own batches; a channel of zero variance
/// keeps its old statistics. `options` gives device, batch, threads, memory (probes and batch-norm mode are set here); up to
/// `max_batches` batches are run, 0 = all. A model without batch norm comes back unchanged with a warning. All other tensors
/// are shared; preprocessing, labels and history are the model's own. InputError if a moment is NaN or infinite or no batch
/// came, naming the layer.
[[nodiscard]] Model reestimate_batch_norm(const Model& model, BatchSource& calibration, int64_t max_batches,
                                          SessionOptions options, const Progress& progress);

/// The same from moments taken elsewhere: the part of the above that changes the model.
[[nodiscard]] Model with_batch_moments(const Model& model, const std::vector<BatchMoments>& moments, MemoryResource& resource);

}  // namespace elek
