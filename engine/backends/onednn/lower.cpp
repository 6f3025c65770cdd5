// SPDX-License-Identifier: Apache-2.0
// Lowering, first half: tensors, layouts, micro-batch, probes and storages. Kernels and slabs: lower_kernels.cpp.
// Values keep one blocked layout from the first convolution to the pooled features; only the network's input (few channels:
// plain, as oneDNN's first-layer kernels want it) and feature vectors are plain.
// Tests: tests/golden/session_test.cpp, tests/golden/memory_test.cpp
#include "engine/backends/onednn/lower.h"

#include <omp.h>

#include <algorithm>

#include "engine/base/error.h"

namespace elek::onednn {
namespace {

/// A step's input and output for one micro-batch should not go far beyond the caches, and a micro-batch should not be so small
/// that starting kernels shows. Chosen by reasoning, not yet tuned.
constexpr size_t kMicroBatchBytes = size_t{16} << 20;
constexpr int64_t kMaxMicroBatch = 16;

constexpr int64_t kFirstLayerChannels = 3;

}  // namespace

size_t reserve(size_t& slab, size_t bytes) {
  const size_t offset = (slab + kAlignment - 1) / kAlignment * kAlignment;
  slab = offset + bytes;
  return offset;
}

Lowerer::Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options)
    : model_(model), graph_(model.graph), fused_(fused) {
  notes.options = options;
}

void Lowerer::lower() {
  const LowerOptions& o = notes.options;
  ELEK_CHECK(o.batch >= 1, "batch " + std::to_string(o.batch));
  ELEK_CHECK(o.micro_batch >= 0 && o.threads >= 0, "micro-batch and threads must not be negative");
  ELEK_CHECK(!o.batch_moments || o.batch_norm == BatchNorm::kApart, "batch moments need batch norm kept apart");
  ELEK_CHECK(o.probes.tap == Tap::kRelu || o.batch_norm == BatchNorm::kApart, "the tap `conv` needs batch norm kept apart");
  notes.threads = o.threads > 0 ? o.threads : omp_get_max_threads();
  notes.layout = preferred_layout();
  notes.input_shape = graph_.input_shape();
  choose_micro_batch();
  add_steps();
  resolve_probes();
  choose_convolutions();
  decide_last_acts();
  share_storages();
  build_kernels();
  reserve_slabs();
}

void Lowerer::choose_micro_batch() {
  const LowerOptions& o = notes.options;
  program.batch = o.batch;
  if (o.batch_moments || o.keep_values) {
    program.micro_batch = o.batch;  // a layer's moments are the whole batch's; kept values too
    return;
  }
  if (o.micro_batch > 0) {
    program.micro_batch = std::min(o.micro_batch, o.batch);
    return;
  }
  size_t widest = 1;  // bytes a sample, input and output of one step
  for (const FusedNode& step : fused_.steps) {
    const int64_t elements = graph_.node(step.input).shape.elements() + graph_.node(step.output).shape.elements();
    widest = std::max(widest, static_cast<size_t>(elements) * sizeof(float));
  }
  const int64_t most =
      std::clamp(static_cast<int64_t>(kMicroBatchBytes / widest), int64_t{1}, std::min(kMaxMicroBatch, o.batch));
  program.micro_batch = most;  // of what fits, the one that leaves the fewest samples over; of those the largest
  for (int64_t m = most; 2 * m > most; --m) {
    if (o.batch % m < o.batch % program.micro_batch) program.micro_batch = m;
  }
}

void Lowerer::add_tensor(const std::string& name, ValueId value, Layout layout) {
  ProgramTensor t;
  t.name = name;
  t.value = value;
  t.shape = graph_.node(value).shape;
  t.layout = layout;
  t.channel_pitch = padded_channels(layout, t.shape.channels);
  t.bytes = checked_bytes(Shape{program.micro_batch, t.channel_pitch, t.shape.height, t.shape.width}, DType::kF32);
  tensor_of_[value] = static_cast<int32_t>(program.tensors.size());
  program.tensors.push_back(t);
}

Kind Lowerer::kind_of(const FusedNode& f) const {
  const Node& n = f.node;
  if (n.is<Conv2dAttrs>()) return Kind::kConv;
  if (n.is<LinearAttrs>()) return Kind::kLinear;
  if (n.is<MaxPoolAttrs>()) return Kind::kMaxPool;
  if (n.is<AvgPoolAttrs>()) return Kind::kAvgPool;
  if (n.is<GlobalAvgPoolAttrs>()) return Kind::kGlobalAvgPool;
  if (n.is<ChannelMapAttrs>()) return Kind::kChannelMap;
  if (n.is<FlattenAttrs>()) return tensor(tensor_of_.at(f.input)).layout == Layout::kNchw ? Kind::kAlias : Kind::kRelayout;
  ELEK_CHECK(n.is<AddAttrs>() || n.is<ReluAttrs>() || n.is<BatchNormAttrs>(),
             "node '" + n.name + "': the CPU backend has no kernel for " + std::string(op_name(n)));
  return Kind::kElementwise;
}

Layout Lowerer::output_layout(const FusedNode& f) const {
  switch (kind_of(f)) {
    case Kind::kConv:
    case Kind::kChannelMap:
      return notes.layout;
    case Kind::kLinear:
    case Kind::kGlobalAvgPool:
    case Kind::kAlias:
    case Kind::kRelayout:
      return Layout::kNchw;
    default:
      return tensor(tensor_of_.at(f.input)).layout;
  }
}

Layout Lowerer::input_layout() const {
  bool plain = notes.input_shape.channels <= kFirstLayerChannels;
  for (const FusedNode& step : fused_.steps) {
    const bool reads = step.input == fused_.input;
    const bool adds = step.residual && *step.residual == fused_.input;
    if (adds || (reads && !step.node.is<Conv2dAttrs>() && !step.node.is<FlattenAttrs>())) plain = false;
  }
  return plain ? Layout::kNchw : notes.layout;
}

void Lowerer::add_steps() {
  add_tensor(name_of(fused_.input), fused_.input, input_layout());
  ProgramStep first;
  first.node.node = graph_.node(fused_.input);
  first.node.output = first.node.preactivation = fused_.input;
  first.output = 0;
  first.kernel = "preprocess";
  program.steps.push_back(first);
  notes.steps.emplace_back();
  notes.steps.back().kind = Kind::kPreprocess;
  notes.steps.back().output = 0;
  for (const FusedNode& f : fused_.steps) add_step(f);
  notes.output = tensor_of_.at(fused_.output);
}

void Lowerer::add_step(const FusedNode& f) {
  Step step;
  step.kind = kind_of(f);
  step.input = tensor_of_.at(f.input);
  if (f.residual) step.residual = tensor_of_.at(*f.residual);
  step.relu = f.relu || f.node.is<ReluAttrs>();
  add_tensor(name_of(f.output), f.output, output_layout(f));
  step.output = tensor_of_.at(f.output);
  step.slice = program.micro_batch;
  if (step.residual >= 0) {
    const ProgramTensor& r = tensor(step.residual);
    const ProgramTensor& y = tensor(step.output);
    ELEK_CHECK(r.layout == y.layout && r.shape == y.shape,
               "node '" + f.node.name + "': adds '" + r.name + "' (" + to_string(r.shape) + ", " +
                   std::string(elek::name_of(r.layout)) + ") to " + to_string(y.shape) + ", " +
                   std::string(elek::name_of(y.layout)) + "; the CPU backend adds values of one layout only");
  }
  if (step.kind == Kind::kLinear) {
    ELEK_CHECK(tensor(step.input).shape.positions() == 1,
               "linear '" + f.node.name + "': reads " + to_string(tensor(step.input).shape) + "; flatten it first");
  }
  ProgramStep made;
  made.node = f;
  made.input = step.input;
  made.residual = step.residual;
  made.output = step.output;
  program.steps.push_back(std::move(made));
  notes.steps.push_back(std::move(step));
}

void Lowerer::resolve_probes() {
  for (const auto& [name, sums] : notes.options.probes.values) watch(name, sums);
  for (const std::string& name : notes.options.probes.tap_norms) watch_taps(name);
}

void Lowerer::watch(const std::string& name, uint32_t sums) {
  ELEK_CHECK(sums != 0 && sums < 32, "value '" + name + "': unknown sums " + std::to_string(sums));
  const bool conv_tap = notes.options.probes.tap == Tap::kConv;
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    const FusedNode& f = program.steps[i].node;
    const bool stored = name_of(f.output) == name;
    const bool raw = conv_tap && step.kind == Kind::kConv;
    if (!stored && !(raw && (f.node.name == name || name_of(f.preactivation) == name))) continue;
    ELEK_CHECK(step.watched < 0, "values '" + name + "' and '" +
                                     notes.watched[static_cast<size_t>(std::max(step.watched, 0))].name +
                                     "' are the same convolution: watch one of them");
    const bool has_z = step.kind == Kind::kConv || step.kind == Kind::kLinear;
    ELEK_CHECK((sums & kMoments) == 0 || (has_z && !raw),
               "value '" + name +
                   "': sums of its pre-activation were asked for, and it has none (no convolution makes it, or the "
                   "tap is the convolution itself)");
    step.watched = static_cast<int32_t>(notes.watched.size());
    step.watch_raw = raw;
    notes.watched.push_back({name, step.output, sums, 0});
    program.steps[i].observed = true;
    return;
  }
  ELEK_CHECK(graph_.find(name) >= 0, "value '" + name + "': the network has none of that name");
  ELEK_CHECK(false, "value '" + name + "' is not stored: the step that computes it goes on and stores another; watch that one");
}

void Lowerer::watch_taps(const std::string& name) {
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    const FusedNode& f = program.steps[i].node;
    if (f.node.name != name || (step.kind != Kind::kConv && step.kind != Kind::kLinear) || step.tap_norm >= 0) continue;
    const ProgramTensor& x = tensor(step.input);
    WatchedTaps taps;
    taps.name = name;
    const bool conv = step.kind == Kind::kConv;
    const Conv2dAttrs a = conv ? f.node.as<Conv2dAttrs>() : Conv2dAttrs{};
    taps.plan = kernels::make_tap_norm_plan(x.shape, a.kernel, a.stride, a.padding);
    step.tap_norm = static_cast<int32_t>(notes.tap_norms.size());
    notes.tap_norms.push_back(std::move(taps));
    program.steps[i].observed = true;
    return;
  }
  ELEK_CHECK(false, "'" + name +
                        "': input norms were asked for, and it is no convolution or linear layer of the network (or was "
                        "named twice)");
}

void Lowerer::decide_last_acts() {
  const bool apart = notes.options.batch_norm == BatchNorm::kApart;
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    const FusedNode& f = program.steps[i].node;
    if (f.node.is<BatchNormAttrs>()) step.batch_norm = f.node.name;
    if (step.kind == Kind::kConv && apart && !f.batch_norm.empty()) {
      step.batch_norm = f.batch_norm;
      step.bn_apart = true;
    }
    step.own_moments = notes.options.batch_moments && !step.batch_norm.empty();
    if (step.kind == Kind::kConv) step.epilogue = !step.winograd && (step.bn_apart || step.watched >= 0);
    if (step.kind == Kind::kLinear) step.epilogue = step.watched >= 0 || step.relu || step.residual >= 0;
  }
}

/// May the step write its result over `operand`, one of the values that it reads? Not if anything in that storage is read by it
/// otherwise, read later, or the network's answer.
bool Lowerer::may_overwrite(size_t step, int32_t operand) const {
  if (operand < 0 || notes.options.keep_values || notes.options.batch_moments) return false;
  const int32_t storage = tensor(operand).storage;
  const ProgramTensor& from = tensor(operand);
  const ProgramTensor& to = tensor(notes.steps[step].output);
  if (from.shape != to.shape || from.layout != to.layout || tensor(notes.output).storage == storage) return false;
  int reads = 0;
  for (size_t j = step; j < notes.steps.size(); ++j) {
    for (const int32_t read : {notes.steps[j].input, notes.steps[j].residual}) {
      if (read >= 0 && tensor(read).storage == storage) ++reads;
    }
  }
  return reads == 1;  // its own, of the operand
}

void Lowerer::overwrite_or_own(size_t i) {
  Step& step = notes.steps[i];
  int32_t& storage = tensor(step.output).storage;
  const auto reuse = [&](int32_t operand) { storage = tensor(operand).storage; };
  if (step.kind == Kind::kAlias) {
    reuse(step.input);
  } else if (step.kind == Kind::kElementwise && may_overwrite(i, step.input)) {
    reuse(step.input);
  } else if ((step.kind == Kind::kElementwise || step.kind == Kind::kConv) && may_overwrite(i, step.residual)) {
    reuse(step.residual);
    if (step.kind == Kind::kConv && !step.winograd) {
      const uint32_t sums = step.watched < 0 ? 0 : notes.watched[static_cast<size_t>(step.watched)].sums;
      step.z_in_workspace = step.bn_apart || step.watch_raw || (sums & kMoments) != 0;
      step.sum_in_place = !step.z_in_workspace;
    }
  } else {
    storage = static_cast<int32_t>(program.storages.size());
    program.storages.push_back({tensor(step.output).name, tensor(step.output).bytes, static_cast<int32_t>(i), 0});
    // oneDNN adds only onto what already lies in the destination; elsewhere the epilogue adds.
    if (step.kind == Kind::kConv && !step.winograd && step.residual >= 0) step.epilogue = true;
  }
}

void Lowerer::share_storages() {
  const auto last = static_cast<int32_t>(notes.steps.size()) - 1;
  for (size_t i = 0; i < notes.steps.size(); ++i) overwrite_or_own(i);
  const auto lives_until = [&](int32_t index, int32_t step) {
    if (index < 0) return;
    int32_t& end = program.storages[static_cast<size_t>(tensor(index).storage)].last_step;
    end = std::max(end, step);
  };
  for (int32_t i = 0; i <= last; ++i) {
    const Step& step = notes.steps[static_cast<size_t>(i)];
    lives_until(step.input, i);
    lives_until(step.residual, i);
    lives_until(step.output, notes.options.keep_values ? last : i);
  }
  lives_until(notes.output, last);
}

}  // namespace elek::onednn
