// SPDX-License-Identifier: Apache-2.0
// Lowering, last part: the place of every parameter, every sum and every staged value in the slabs.
// Tests: tests/deviceless/lower_test.cpp
#include <algorithm>

#include "backends/cuda/lower.h"
#include "kernels/common/preprocess_table.h"
#include "kernels/cuda/channel_totals.h"
#include "kernels/cuda/slab.h"
#include "kernels/cuda/tap_norms.h"

namespace elek::backends::cuda {
namespace {

size_t floats(int64_t count) { return static_cast<size_t>(count) * sizeof(float); }

/// Whether one of the two plans of a convolution adds its bias in the storage type instead of f32.
bool reads_stored_bias(const Step& step) {
  const auto reads = [](const ConvPlan& plan) {
    return plan.problem().epilogue == ConvEpilogue::kFull && plan.problem().bias_dtype() != DType::kF32;
  };
  return step.kind == Kind::kConv && (reads(step.plan) || reads(step.partial_plan));
}

}  // namespace

Staging lay_out_staging(const Program& program, const Notes& notes) {
  const auto samples = static_cast<size_t>(program.micro_batch);
  Staging made;
  for (size_t& pixels : made.pixels) pixels = reserve(made.bytes, static_cast<size_t>(notes.input_shape.elements()) * samples);
  const ImageShape& output = program.tensors[static_cast<size_t>(notes.output)].shape;
  made.output = reserve(made.bytes, static_cast<size_t>(output.elements()) * samples * sizeof(float));
  return made;
}

void Lowerer::reserve_slabs() {
  notes.table_offset = reserve(notes.weights_bytes, floats(notes.input_shape.channels * kernels::kPixelValues));
  for (size_t i = 0; i < notes.steps.size(); ++i) reserve_parameters(i);
  for (WatchedTaps& t : notes.tap_norms) {
    t.tables = reserve(notes.weights_bytes, kernels::cuda::tap_norm_tables(t.plan).size() * sizeof(int32_t));
  }
  for (WatchedMoments& m : notes.batch_moments) {
    m.parameters = reserve(notes.weights_bytes, m.parameter_bytes());
  }
  reserve_statistics();
}

void Lowerer::reserve_parameters(size_t i) {
  Step& step = notes.steps[i];
  size_t& weights = notes.weights_bytes;
  const ProgramTensor& y = tensor(step.output);
  size_t as_stored = 0;  // bytes of the model's f32 weights: they are uploaded, then converted into the slab
  const Node& node = program.steps[i].node.node;
  if (has_weights(node)) as_stored = floats(op_parameters(graph_, node).front().shape.elements());
  if (step.kind == Kind::kConv) {
    step.weights = reserve(weights, step.plan.problem().w_bytes());
  } else if (step.kind == Kind::kLinear) {
    const ProgramTensor& x = tensor(step.input);
    step.weights = reserve(weights, checked_bytes(Shape{y.shape.channels, x.channel_pitch}, x.dtype));
  } else if (node.is<ChannelMapAttrs>()) {
    step.table = reserve(weights, node.as<ChannelMapAttrs>().source.size() * sizeof(int32_t));
  }
  if (step.weights != kNone) {
    step.bias = reserve(weights, floats(y.channel_pitch));
    if (reads_stored_bias(step)) {
      step.stored_bias = reserve(weights, checked_bytes(Shape{y.channel_pitch}, storage_of(notes.options.precision)));
    }
    program.steps[i].weights_bytes = weights - step.weights;
    size_t packing = 0;
    (void)reserve(packing, as_stored);
    (void)reserve(packing, sizeof(int64_t));  // the number of weights that overflow
    notes.packing_bytes = std::max(notes.packing_bytes, packing);
  }
  if (!step.batch_norm.empty() && !step.by_batch_moments()) {
    step.scale = reserve(weights, floats(y.channel_pitch));
    step.shift = reserve(weights, floats(y.channel_pitch));
  }
}

void Lowerer::reserve_statistics() {
  size_t& bytes = notes.statistics_bytes;
  for (Step& step : notes.steps) {
    if (step.fused_sums == 0) continue;
    const int64_t filters = step.plan.problem().filters;
    for (int kind = 0; kind < kFusedSumKinds; ++kind) {
      if ((step.fused_sums & (1U << kind)) != 0)
        step.fused_offsets[static_cast<size_t>(kind)] = reserve(bytes, floats(filters));
    }
  }
  notes.fused_bytes = bytes;
  for (Watched& w : notes.watched) {
    w.offset = reserve(bytes, kernels::cuda::ChannelTotals::bytes(tensor(w.tensor).shape.channels, w.sums));
  }
  for (WatchedTaps& t : notes.tap_norms) t.offset = reserve(bytes, kernels::cuda::tap_norm_bytes(t.plan));
  for (WatchedMoments& m : notes.batch_moments) m.statistics = reserve(bytes, m.statistics_bytes());
  notes.totals_bytes = bytes;
  for (const Step& step : notes.steps) {  // at most: every fused sum, the absolute sum, the count of values that are not finite
    if (step.fused_sums != 0) notes.slab_entries += kFusedSumKinds + 2;
  }
  notes.slab_entries_offset = reserve(bytes, static_cast<size_t>(notes.slab_entries) * sizeof(kernels::cuda::SlabEntry));
}

}  // namespace elek::backends::cuda
