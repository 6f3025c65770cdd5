// SPDX-License-Identifier: Apache-2.0
// Lowering, second half: the kernel of every step, its workspace, and the places in the weights and statistics slabs.
// Tests: tests/golden/session_test.cpp, tests/golden/memory_test.cpp
#include <algorithm>

#include "backends/cpu/lower.h"
#include "core/error.h"
#include "core/runtime.h"
#include "kernels/cpu/batch_moments.h"
#include "kernels/cpu/channel_sums.h"
#include "kernels/cpu/preprocess.h"
#include "kernels/cpu/tap_norms.h"

namespace elek::backends::cpu {
namespace {

/// Where the epilogue follows, a convolution runs over so few samples at a time that its result is still in the caches.
constexpr size_t kSliceBytes = size_t{1} << 20;
size_t sample_bytes(const ProgramTensor& t, int64_t micro_batch) { return t.bytes / static_cast<size_t>(micro_batch); }
/// A sample of what goes to y before its last act, in f32.
size_t z_bytes(const ProgramTensor& y) {
  return checked_bytes(Shape{y.channel_pitch, y.shape.height, y.shape.width}, DType::kF32);
}

}  // namespace

/// The largest divisor of the micro-batch whose results (and watched inputs) stay in the caches until they have been summed.
int64_t Lowerer::slice_of(const Step& step) const {
  const int64_t m = program.micro_batch;
  if (step.by_batch_moments() || (!step.epilogue && step.tap_norm < 0)) return m;
  const ProgramTensor& y = tensor(step.output);
  const size_t z = step.z_in_workspace ? z_bytes(y) : sample_bytes(y, m);
  const size_t bytes = std::max(step.epilogue ? z : 0, step.tap_norm >= 0 ? sample_bytes(tensor(step.input), m) : 0);
  int64_t slice = m;
  while (slice > 1 && (m % slice != 0 || static_cast<size_t>(slice) * bytes > kSliceBytes)) --slice;
  return slice;
}

void Lowerer::build_convolution(size_t i) {
  Step& step = notes.steps[i];
  const Conv2dAttrs& a = program.steps[i].node.node.as<Conv2dAttrs>();
  const ProgramTensor& x = tensor(step.input);
  const ProgramTensor& y = tensor(step.output);
  ConvProblem p;
  p.src = x.shape;
  p.dst = y.shape;
  p.kernel = a.kernel;
  p.stride = a.stride;
  p.padding = a.padding;
  p.groups = a.groups;
  p.src_layout = x.layout;
  p.dst_layout = y.layout;
  p.src_type = x.dtype;
  p.dst_type = step.z_in_workspace ? DType::kF32 : y.dtype;
  p.sum = step.sum_in_place;
  p.relu = step.relu && !step.epilogue;
  p.samples = step.slice = slice_of(step);
  step.whole = Primitive::make(p);
  p.samples = 1;
  if (step.slice > 1) step.single = Primitive::make(p, step.whole.get());
  if (step.slice > 1 && step.single == nullptr) {  // the packed weights of both do not agree: one by one, then
    step.slice = 1;
    step.whole = Primitive::make(p);
  }
}

void Lowerer::build_linear(size_t i) {
  Step& step = notes.steps[i];
  const ProgramTensor& x = tensor(step.input);
  const ProgramTensor& y = tensor(step.output);
  LinearProblem p;
  p.in_features = x.shape.channels;
  p.out_features = y.shape.channels;
  p.src_pitch = x.channel_pitch;
  p.dst_pitch = y.channel_pitch;
  p.src_type = x.dtype;
  p.dst_type = step.z_in_workspace ? DType::kF32 : y.dtype;
  p.samples = step.slice = program.micro_batch;
  step.whole = Primitive::make(p);
  p.samples = 1;
  if (step.slice > 1) step.single = Primitive::make(p, step.whole.get());
  if (step.slice > 1 && step.single == nullptr) {
    step.slice = 1;
    step.whole = Primitive::make(p);
  }
}

void Lowerer::build_kernels() {
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    ProgramStep& made = program.steps[i];
    if (step.kind == Kind::kConv && !step.own) build_convolution(i);
    if (step.kind == Kind::kLinear) build_linear(i);
    size_t workspace = 0;
    if (step.own) {
      made.kernel = step.own->name();
      made.arithmetic = step.own->arithmetic();
      workspace = step.own->scratch_bytes();
    } else if (step.whole != nullptr) {
      made.kernel = "oneDNN " + step.whole->kernel() + (step.epilogue ? " + epilogue" : "");
      workspace = step.whole->scratch_bytes();
      if (step.single != nullptr) workspace = std::max(workspace, step.single->scratch_bytes());
    }
    const ProgramTensor& y = tensor(step.output);
    if (step.z_in_workspace) {
      // Moments are the whole batch's: then all of z must be there.
      const int64_t samples = step.by_batch_moments() ? program.micro_batch : step.slice;
      step.z_offset = reserve(workspace, z_bytes(y) * static_cast<size_t>(samples));
    }
    if (step.by_batch_moments()) {
      const size_t bytes = kernels::cpu::batch_moments_workspace_bytes(y.shape.channels, notes.threads);
      step.moments_offset = reserve(workspace, bytes);
    }
    made.workspace_bytes = workspace;
  }
}

/// What packing this step's weights holds for a moment: weights and bias with batch norm folded in, each a block, and the
/// layout that oneDNN packs from.
size_t Lowerer::packing_bytes(const Step& step) const {
  const Node& node = program.steps[static_cast<size_t>(&step - notes.steps.data())].node.node;
  const Shape weight = op_parameters(graph_, node).front().shape;
  size_t bytes = 0;
  (void)reserve(bytes, static_cast<size_t>(weight.elements()) * sizeof(float));
  (void)reserve(bytes, static_cast<size_t>(weight[0]) * sizeof(float));
  (void)reserve(bytes, step.own ? 0 : step.whole->staged_bytes());
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
    if (step.has_weights()) {
      step.weights = reserve(weights, step.own ? step.own->packed_bytes() : step.whole->packed_bytes());
      step.bias = reserve(weights, floats(lanes));
      program.steps[i].weights_bytes = weights - step.weights;
      notes.packing_bytes = std::max(notes.packing_bytes, packing_bytes(step));
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

std::string describe_kernels(const Program& program, const Notes& notes) {
  uint64_t names = kHashSeed;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const std::string line = program.steps[i].kernel + "/" + std::to_string(notes.steps[i].slice) + "\n";
    names = hash_bytes(line.data(), line.size(), names);
  }
  return library_name() + " " + std::string(elek::name_of(notes.layout)) + " " + to_hex(names);
}

}  // namespace elek::backends::cpu
