// SPDX-License-Identifier: Apache-2.0
// Lowering, first part: layouts, micro-batch and epilogues (the rest: graph_lowerer.h, lower_kernels.cpp, slabs.cpp).
// Values have one layout from the first convolution to the pooled features. Only feature vectors are plain (kNchw), and the
// network's input if it has few channels and that layout is blocked: first-layer kernels read it so, and blocks would waste
// memory.
// Tests: tests/golden/session_test.cpp, tests/golden/memory_test.cpp
#include "backends/cpu/lower.h"

#include <algorithm>

#include "backends/cpu/preferred_layout.h"
#include "core/error.h"
#include "core/threads.h"

namespace elek::backends::cpu {
namespace {

/// Largest input plus output of one step, for one micro-batch. Every micro-batch reads all weights from memory again, which
/// costs time if micro-batches are small; the arena grows with the micro-batch. Measurements: docs/decisions.md.
constexpr size_t kMicroBatchBytes = size_t{64} << 20;
constexpr int64_t kMaxMicroBatch = 16;

constexpr int64_t kFirstLayerChannels = 3;

}  // namespace

Lowerer::Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options, const Choosing& choosing)
    : GraphLowerer(model, fused, options),
      choosing_(choosing),
      quantised_(quantised_values(model, fused, options)),
      quantization_(model.quantization) {
  for (const ParameterSpec& spec : required_parameters(graph_)) parameters_ += static_cast<uint64_t>(spec.shape.elements());
}

void Lowerer::lower() {
  check_options();
  notes.threads = notes.options.threads > 0 ? notes.options.threads : default_threads();
  notes.layout = preferred_layout(storage_of(notes.options.precision));
  choose_micro_batch();
  add_steps();
  resolve_probes();
  decide_batch_norm();
  choose_convolutions();
  share_storages([](const Step& /*step*/) { return true; });  // the kernel, oneDNN's post-op or our pass adds it
  decide_epilogues();
  build_kernels();
  reserve_slabs();
}

void Lowerer::choose_micro_batch() {
  const LowerOptions& o = notes.options;
  program.batch = o.batch;
  if (o.batch_moments || o.keep_values) {
    program.micro_batch = o.batch;  // a layer's moments need the whole batch; so do kept values
    return;
  }
  if (o.micro_batch > 0) {
    program.micro_batch = std::min(o.micro_batch, o.batch);
    return;
  }
  const size_t each = size_of(storage_of(o.precision));
  size_t widest = 1;  // bytes per sample: input plus output of one step
  for (const FusedNode& step : fused_.steps) {
    const int64_t elements = graph_.node(step.input).shape.elements() + graph_.node(step.output).shape.elements();
    widest = std::max(widest, static_cast<size_t>(elements) * each);
  }
  const int64_t most =
      std::clamp(static_cast<int64_t>(kMicroBatchBytes / widest), int64_t{1}, std::min(kMaxMicroBatch, o.batch));
  program.micro_batch = most;  // the size that leaves the fewest samples over; of several, the largest
  for (int64_t m = most; 2 * m > most; --m) {
    if (o.batch % m < o.batch % program.micro_batch) program.micro_batch = m;
  }
}

/// The logits stay in f32, as the classifier sums them. All other values have the type of the precision; in int8, values that
/// all readers take as integers are stored so.
void Lowerer::lay_out(ProgramTensor& t, const FusedNode* node, Kind kind) const {
  const bool answer = kind == Kind::kLinear && node->output == fused_.output && !node->residual;
  t.dtype = answer ? DType::kF32 : storage_of(notes.options.precision);
  if (const auto grid = quantised_.stored.find(t.value); grid != quantised_.stored.end()) {
    t.dtype = type_of(grid->second);
    t.scale = grid->second.scale;
  }
  t.layout = node == nullptr ? input_layout() : output_layout(*node);
  t.channel_pitch = padded_channels(t.layout, t.shape.channels);
  t.bytes = checked_bytes(Shape{program.micro_batch, t.channel_pitch, t.shape.height, t.shape.width}, t.dtype);
}

Layout Lowerer::output_layout(const FusedNode& f) const {
  switch (op_class(f.node)) {
    case OpClass::kConv:
    case OpClass::kGather:
      return notes.layout;
    case OpClass::kLinear:
    case OpClass::kReduction:
    case OpClass::kReshape:
      return Layout::kNchw;
    case OpClass::kConcat: {  // the kernel reads any layout
      const auto& inputs = f.node.inputs;
      const bool plain =
          std::all_of(inputs.begin(), inputs.end(), [&](ValueId each) { return tensor_of(each).layout == Layout::kNchw; });
      return plain ? Layout::kNchw : notes.layout;
    }
    default:
      return tensor_of(f.input).layout;
  }
}

Layout Lowerer::input_layout() const {
  bool plain = channel_block(notes.layout) > 1 && notes.input_shape.channels <= kFirstLayerChannels;
  for (const FusedNode& step : fused_.steps) {
    const bool reads = step.input == fused_.input;
    // Our kernels read groups from blocks only.
    if (reads && step.node.is<Conv2dAttrs>() && step.node.as<Conv2dAttrs>().groups > 1 && !library_has_kernels()) plain = false;
    const bool also = (step.residual && *step.residual == fused_.input) ||
                      std::find(step.more.begin(), step.more.end(), fused_.input) != step.more.end();
    if (also || (reads && op_class(step.node) != OpClass::kConv && op_class(step.node) != OpClass::kReshape)) plain = false;
  }
  return plain ? Layout::kNchw : notes.layout;
}

/// Who does the epilogue of a convolution or linear layer: its kernel, oneDNN's post-ops, or our pass after it. Before our pass
/// a kernel can only add to what is already in the destination; elsewhere our pass adds.
/// If our pass follows, the raw result z lies in the output's memory if that can hold it: the type is f32, or only ReLU is left
/// to do, which gives the same before and after rounding. Otherwise z is f32 in the workspace.
void Lowerer::decide_epilogues() {
  for (Step& step : notes.steps) {
    const bool narrow = tensor(step.output).dtype != DType::kF32;
    if (step.kind == Kind::kLinear) {
      step.epilogue = step.watched >= 0 || !step.activation.is_none() || step.residual >= 0;
      step.z_in_workspace = step.epilogue && narrow;
    }
    if (step.kind != Kind::kConv) continue;
    step.kernel_finishes = does_epilogue(step.algorithm) && !step.bn_apart && !step.watch_raw && step.activation.is_clamp();
    if (step.kernel_finishes) continue;
    const bool in_place = step.place == Place::kResidual;
    const bool z_is_wanted = step.bn_apart || step.watch_raw || (sums_of(step) & kMoments) != 0;  // z before the sum
    const bool other = !step.activation.is_plain();  // no post-op for it, and not the same before and after rounding
    step.epilogue = step.bn_apart || step.watched >= 0 || other || (step.residual >= 0 && !in_place) ||
                    does_epilogue(step.algorithm);  // our kernels have no post-ops
    const bool rounds_twice = step.epilogue && narrow && (z_is_wanted || other || (step.residual >= 0 && !in_place));
    step.z_in_workspace = (in_place && z_is_wanted) || rounds_twice;
    step.sum_in_place = in_place && !step.z_in_workspace;
  }
}

}  // namespace elek::backends::cpu
