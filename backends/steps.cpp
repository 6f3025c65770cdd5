// SPDX-License-Identifier: Apache-2.0
// Tests: tests/golden/session_test.cpp
#include "backends/steps.h"

#include "core/error.h"

namespace elek::backends {

kernels::Normalisation WatchedMoments::normalisation(const std::byte* weights_slab, std::byte* statistics_slab) const {
  kernels::Normalisation n;
  n.channels = channels;
  n.mean = reinterpret_cast<double*>(statistics_slab + statistics);
  n.variance = n.mean + channels;
  n.variance_unbiased = n.variance + channels;
  n.mean_total = n.variance_unbiased + channels;
  n.variance_total = n.mean_total + channels;
  n.scale = reinterpret_cast<float*>(n.variance_total + channels);
  n.shift = n.scale + channels;
  n.old_mean = reinterpret_cast<const double*>(weights_slab + parameters);
  n.old_variance = n.old_mean + channels;
  n.gamma = reinterpret_cast<const float*>(n.old_variance + channels);
  n.beta = n.gamma + channels;
  n.eps = eps;
  return n;
}

BatchMoments WatchedMoments::average(const double* sums, int64_t batches) const {
  BatchMoments made;
  made.batch_norm = batch_norm;
  made.batches = batches;
  const double scale = batches > 0 ? 1.0 / static_cast<double>(batches) : 0.0;
  for (int64_t c = 0; c < channels; ++c) {
    made.mean.push_back(sums[c] * scale);
    made.variance.push_back(sums[channels + c] * scale);
  }
  return made;
}

size_t reserve(size_t& slab, size_t bytes) {
  const size_t offset = (slab + kAlignment - 1) / kAlignment * kAlignment;
  slab = offset + bytes;
  return offset;
}

void check_slot(const Slot& slot, const Program& program, const CommonNotes& notes) {
  ELEK_CHECK(
      slot.count >= 1 && slot.count <= program.batch,
      "a slot of " + std::to_string(slot.count) + " samples, expected 1 to " + std::to_string(program.batch) + " (the batch)");
  ELEK_CHECK(slot.pixels != nullptr && slot.shape == notes.input_shape, "a slot of " + to_string(slot.shape) + ", expected " +
                                                                            to_string(notes.input_shape) +
                                                                            " (the network's input) with pixels");
}

}  // namespace elek::backends
