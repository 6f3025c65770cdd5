// SPDX-License-Identifier: Apache-2.0
// Lowering, first part: layouts and epilogues (the rest: graph_lowerer.h, lower_kernels.cpp, slabs.cpp). Every value is NHWC
// with its channels padded to 16 bytes. A whole batch runs at once unless a micro-batch is asked for.
// Tests: tests/deviceless/lower_test.cpp
#include "backends/cuda/lower.h"

#include <algorithm>

#include "core/error.h"

namespace elek::backends::cuda {

Lowerer::Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options, const Target& target)
    : GraphLowerer(model, fused, options), target_(target), plans_(target) {}

void Lowerer::lower() {
  check_options();
  const LowerOptions& o = notes.options;
  notes.library = "cuDNN " + version_name(target_.cudnn_version) + ", " + target_.facts.name + " sm" +
                  std::to_string(target_.facts.compute_capability);
  program.batch = o.batch;
  const bool one_slice = o.batch_moments || o.keep_values || o.micro_batch == 0;
  program.micro_batch = one_slice ? o.batch : std::min(o.micro_batch, o.batch);
  add_steps();
  resolve_probes();
  decide_batch_norm();
  decide_epilogues();
  build_convolutions();
  share_storages([](const Step& step) { return step.adds_in_place; });
  build_rest();
  reserve_slabs();
}

/// The logits stay in f32, as cuBLASLt accumulates them. All other values have the type of the precision.
void Lowerer::lay_out(ProgramTensor& t, const FusedNode* node, Kind kind) const {
  const bool answer = kind == Kind::kLinear && node->output == fused_.output && !node->residual;
  t.dtype = answer ? DType::kF32 : storage_of(notes.options.precision);
  if (kind == Kind::kAlias) t.dtype = tensor_of(node->input).dtype;
  t.layout = Layout::kNhwc;
  t.channel_pitch = pitch_of(t.shape.channels, notes.options.precision);
  t.bytes = checked_bytes(Shape{program.micro_batch, t.shape.height, t.shape.width, t.channel_pitch}, t.dtype);
}

/// cuBLASLt does not write the padding channels of its result. So it runs without our epilogue only if nothing reads them.
void Lowerer::decide_epilogues() {
  for (Step& step : notes.steps) {
    if (step.kind != Kind::kLinear) continue;
    const bool answer = step.output == notes.output && tensor(step.output).dtype == DType::kF32;
    step.linear_epilogue = !answer || step.watched >= 0 || !step.activation.is_none() || step.residual >= 0;
  }
}

}  // namespace elek::backends::cuda
