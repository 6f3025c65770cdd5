// SPDX-License-Identifier: Apache-2.0
// Lowering, last part: the place of every parameter and every sum in the weights and statistics slabs.
// Tests: tests/golden/memory_test.cpp, tests/golden/plan_bound_test.cpp
#include <algorithm>

#include "backends/cpu/lower.h"
#include "kernels/common/preprocess_table.h"
#include "kernels/cpu/channel_sums.h"
#include "kernels/cpu/tap_norms.h"

namespace elek::backends::cpu {

/// Temporary memory for packing this step's weights: weights and bias with batch norm folded in (one block each), and the
/// layout from which oneDNN packs.
size_t Lowerer::packing_bytes(size_t i) const {
  const Step& step = notes.steps[i];
  const Shape weight = op_parameters(graph_, program.steps[i].node.node).front().shape;
  size_t bytes = 0;
  (void)reserve(bytes, static_cast<size_t>(weight.elements()) * sizeof(float));
  (void)reserve(bytes, static_cast<size_t>(weight[0]) * sizeof(float));
  (void)reserve(bytes, step.kernel->staged_bytes());
  return bytes;
}

void Lowerer::reserve_slabs() {
  size_t& weights = notes.weights_bytes;
  size_t& statistics = notes.statistics_bytes;
  const auto floats = [](int64_t count) { return static_cast<size_t>(count) * sizeof(float); };
  notes.table_offset = reserve(weights, floats(notes.input_shape.channels * kernels::kPixelValues));
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    const int64_t lanes = lanes_of(tensor(step.output));
    if (step.kernel) {
      step.weights = reserve(weights, step.kernel->packed_bytes());
      step.bias = reserve(weights, floats(lanes));
      program.steps[i].weights_bytes = weights - step.weights;
      notes.packing_bytes = std::max(notes.packing_bytes, packing_bytes(i));
    }
    if (!step.batch_norm.empty() && !step.by_batch_moments()) {
      step.scale = reserve(weights, floats(lanes));
      step.shift = reserve(weights, floats(lanes));
    }
  }
  for (WatchedMoments& m : notes.batch_moments) {
    m.parameters = reserve(weights, m.parameter_bytes());
    m.statistics = reserve(statistics, m.statistics_bytes());
  }
  for (Watched& w : notes.watched) {
    w.offset = reserve(statistics, kernels::cpu::ChannelSums::bytes(lanes_of(tensor(w.tensor)), w.sums, notes.threads));
  }
  for (WatchedTaps& t : notes.tap_norms) {
    t.offset = reserve(statistics, kernels::cpu::tap_norm_bytes(t.plan, notes.threads));
  }
}

}  // namespace elek::backends::cpu
