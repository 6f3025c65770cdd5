// SPDX-License-Identifier: Apache-2.0
// Lowering, first half: tensors, probes and storages. Kernels and slabs: lower_kernels.cpp. Every value is NHWC with its
// channels padded to 16 bytes; a whole batch runs at once unless a micro-batch is asked for. Tests:
// tests/deviceless/lower_test.cpp
#include "engine/backends/cudnn/lower.h"

#include <algorithm>

#include "engine/base/error.h"

namespace elek::cudnn {

size_t reserve(size_t& slab, size_t bytes) {
  const size_t offset = (slab + kAlignment - 1) / kAlignment * kAlignment;
  slab = offset + bytes;
  return offset;
}

Staging lay_out_staging(const Program& program, const Notes& notes) {
  const auto samples = static_cast<size_t>(program.micro_batch);
  Staging made;
  for (size_t& pixels : made.pixels) pixels = reserve(made.bytes, static_cast<size_t>(notes.input_shape.elements()) * samples);
  const ImageShape& output = program.tensors[static_cast<size_t>(notes.output)].shape;
  made.output = reserve(made.bytes, static_cast<size_t>(output.elements()) * samples * sizeof(float));
  return made;
}

Lowerer::Lowerer(const Model& model, const FusedGraph& fused, const LowerOptions& options, const Target& target)
    : graph_(model.graph), fused_(fused), target_(target), plans_(target) {
  notes.options = options;
}

void Lowerer::lower() {
  check_options();
  const LowerOptions& o = notes.options;
  notes.input_shape = graph_.input_shape();
  notes.library = "cuDNN " + version_name(target_.cudnn_version) + ", " + target_.facts.name + " sm" +
                  std::to_string(target_.facts.compute_capability);
  program.batch = o.batch;
  const bool one_slice = o.batch_moments || o.keep_values || o.micro_batch == 0;
  program.micro_batch = one_slice ? o.batch : std::min(o.micro_batch, o.batch);
  add_steps();
  resolve_probes();
  decide_last_acts();
  share_storages();
  build_convolutions();
  build_rest();
  reserve_slabs();
}

void Lowerer::check_options() const {
  const LowerOptions& o = notes.options;
  ELEK_CHECK(o.batch >= 1, "batch " + std::to_string(o.batch));
  ELEK_CHECK(o.micro_batch >= 0, "the micro-batch must not be negative");
  ELEK_CHECK(!o.batch_moments || o.batch_norm == BatchNorm::kApart, "batch moments need batch norm kept apart");
  ELEK_CHECK(o.probes.tap == Tap::kRelu || o.batch_norm == BatchNorm::kApart, "the tap `conv` needs batch norm kept apart");
}

void Lowerer::add_tensor(const std::string& name, ValueId value, DType dtype) {
  ProgramTensor t;
  t.name = name;
  t.value = value;
  t.shape = graph_.node(value).shape;
  t.dtype = dtype;
  t.layout = Layout::kNhwc;
  t.channel_pitch = pitch_of(t.shape.channels, notes.options.precision);
  t.bytes = checked_bytes(Shape{program.micro_batch, t.shape.height, t.shape.width, t.channel_pitch}, dtype);
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
  if (n.is<FlattenAttrs>()) return tensor(tensor_of_.at(f.input)).shape.positions() == 1 ? Kind::kAlias : Kind::kRelayout;
  ELEK_CHECK(n.is<AddAttrs>() || n.is<ReluAttrs>() || n.is<BatchNormAttrs>(),
             "node '" + n.name + "': the CUDA backend has no kernel for " + std::string(op_name(n)));
  return Kind::kElementwise;
}

void Lowerer::add_steps() {
  const DType storage = storage_of(notes.options.precision);
  add_tensor(name_of(fused_.input), fused_.input, storage);
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
  // The network's answer keeps the f32 that cuBLASLt accumulated in; everything else is stored in the precision's type.
  const bool answer = step.kind == Kind::kLinear && f.output == fused_.output && step.residual < 0;
  add_tensor(name_of(f.output), f.output, answer ? DType::kF32 : storage_of(notes.options.precision));
  step.output = tensor_of_.at(f.output);
  if (step.kind == Kind::kAlias) tensor(step.output).dtype = tensor(step.input).dtype;
  if (step.residual >= 0) {
    const ProgramTensor& r = tensor(step.residual);
    ELEK_CHECK(r.shape == tensor(step.output).shape, "node '" + f.node.name + "': adds '" + r.name + "' (" +
                                                         to_string(r.shape) + ") to " + to_string(tensor(step.output).shape));
  }
  if (step.kind == Kind::kLinear) {
    const ProgramTensor& x = tensor(step.input);
    ELEK_CHECK(x.shape.positions() == 1, "linear '" + f.node.name + "': reads " + to_string(x.shape) + "; flatten it first");
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
    const bool conv = step.kind == Kind::kConv;
    if (f.node.name != name || (!conv && step.kind != Kind::kLinear) || step.tap_norm >= 0) continue;
    const Conv2dAttrs a = conv ? f.node.as<Conv2dAttrs>() : Conv2dAttrs{};
    WatchedTaps taps;
    taps.name = name;
    taps.plan = kernels::cuda::make_tap_norm_plan(tensor(step.input).shape, a.kernel, a.stride, a.padding);
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
    if (step.own_moments) add_moments(step);
    if (step.kind == Kind::kLinear) {
      // cuBLASLt alone leaves the padding channels of its result as they are: only where nothing reads them.
      const bool answer = step.output == notes.output && tensor(step.output).dtype == DType::kF32;
      step.linear_epilogue = !answer || step.watched >= 0 || step.relu || step.residual >= 0;
    }
  }
}

/// May an elementwise step write its result over `operand`, one of the values that it reads? Not if that storage is read by it
/// otherwise, read later, or the network's answer. Convolutions never do: cuDNN does not promise to read its residual before it
/// writes the same place.
bool Lowerer::may_overwrite(size_t step, int32_t operand) const {
  if (operand < 0 || notes.options.keep_values || notes.options.batch_moments) return false;
  const int32_t storage = tensor(operand).storage;
  const ProgramTensor& from = tensor(operand);
  const ProgramTensor& to = tensor(notes.steps[step].output);
  if (from.shape != to.shape || from.dtype != to.dtype || tensor(notes.output).storage == storage) return false;
  int reads = 0;
  for (size_t j = step; j < notes.steps.size(); ++j) {
    for (const int32_t read : {notes.steps[j].input, notes.steps[j].residual}) {
      if (read < 0 || tensor(read).storage != storage) continue;
      if (j > step) return false;
      ++reads;
    }
  }
  return reads == 1;
}

void Lowerer::share_storages() {
  const auto last = static_cast<int32_t>(notes.steps.size()) - 1;
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    const Step& step = notes.steps[i];
    int32_t& storage = tensor(step.output).storage;
    const bool elementwise = step.kind == Kind::kElementwise;
    if (step.kind == Kind::kAlias || (elementwise && may_overwrite(i, step.input))) {
      storage = tensor(step.input).storage;
    } else if (elementwise && may_overwrite(i, step.residual)) {
      storage = tensor(step.residual).storage;
    } else {
      storage = static_cast<int32_t>(program.storages.size());
      program.storages.push_back({tensor(step.output).name, tensor(step.output).bytes, static_cast<int32_t>(i), 0});
    }
  }
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

}  // namespace elek::cudnn
