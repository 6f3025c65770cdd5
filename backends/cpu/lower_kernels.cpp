// SPDX-License-Identifier: Apache-2.0
// Lowering, second part: the kernel of every step and its workspace. choose.h chooses the algorithm of a convolution.
// Tests: tests/golden/session_test.cpp, tests/golden/memory_test.cpp
#include <algorithm>

#include "backends/cpu/lower.h"
#include "core/error.h"
#include "core/runtime.h"
#include "kernels/cpu/batch_moments.h"

namespace elek::backends::cpu {
namespace {

/// If our epilogue follows, a convolution runs over slices of this size, so that its result is still in the caches.
constexpr size_t kSliceBytes = size_t{1} << 20;
size_t sample_bytes(const ProgramTensor& t, int64_t micro_batch) { return t.bytes / static_cast<size_t>(micro_batch); }
/// Bytes of one sample of z, which becomes y in the epilogue, in f32.
size_t z_bytes(const ProgramTensor& y) {
  return checked_bytes(Shape{y.channel_pitch, y.shape.height, y.shape.width}, DType::kF32);
}

}  // namespace

/// The largest divisor of the micro-batch whose results (and watched inputs) stay in the caches until they are summed.
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

ConvCase Lowerer::case_of(size_t i) const {
  const Step& step = notes.steps[i];
  const Conv2dAttrs& a = program.steps[i].node.node.as<Conv2dAttrs>();
  const ProgramTensor& x = tensor(step.input);
  const ProgramTensor& y = tensor(step.output);
  ConvCase conv;
  ConvProblem& p = conv.problem;
  p.samples = program.micro_batch;
  p.src = x.shape;
  p.dst = y.shape;
  p.kernel = a.kernel;
  p.stride = a.stride;
  p.padding = a.padding;
  p.dilation = a.dilation;
  p.groups = a.groups;
  p.src_layout = x.layout;
  p.dst_layout = y.layout;
  p.src_type = x.dtype;
  p.dst_type = y.dtype;
  if (notes.options.precision == Precision::kInt8 && quantization_.layers.contains(program.steps[i].node.node.name)) {
    p.int8 = quantization_.values.at(x.name);
  }
  p.most_scratch_bytes = choosing_.most_workspace;
  conv.threads = notes.threads;
  conv.residual = step.residual >= 0;
  conv.activation = step.activation;
  conv.sums = sums_of(step);
  conv.tap_norms = step.tap_norm >= 0;
  conv.parameters = parameters_;
  return conv;
}

bool Lowerer::may_run(size_t i, ConvAlgorithm algorithm) const {
  return notes.steps[i].kind == Kind::kConv && cpu::may_run(algorithm, case_of(i), notes.options);
}

void Lowerer::choose_convolution(size_t i) {
  Step& step = notes.steps[i];
  const ConvCase conv = case_of(i);
  step.algorithm = usual_algorithm(conv, notes.options);
  if (choosing_.times == nullptr || !times_may_decide(conv, notes.options)) return;
  step.times_key = times_key(machine_key(notes.threads), conv);
  if (const ConvTimes* times = choosing_.times->find(step.times_key)) {
    step.timed = true;
    const ConvAlgorithm winner = times->winner(step.algorithm);
    if (may_run(i, winner)) step.algorithm = winner;  // a file may say anything
    program.steps[i].choice = "timed: " + times->text();
  } else if (choosing_.tried && may_run(i, *choosing_.tried)) {
    step.algorithm = *choosing_.tried;
  }
}

/// The usual algorithm if its workspace is allowed or the direct kernel needs no less. oneDNN's is not tried: its kernels are
/// made, and stay in its cache, when they are asked for their workspace.
ConvAlgorithm Lowerer::within_workspace(const ConvCase& conv, ConvAlgorithm usual) const {
  const auto scratch = [&](ConvAlgorithm algorithm) {
    return ConvKernel(algorithm, conv.problem, conv.threads).scratch_bytes();
  };
  if (usual == ConvAlgorithm::kLibrary || !cpu::may_run(ConvAlgorithm::kDirect, conv, notes.options)) return usual;
  const size_t bytes = scratch(usual);
  return bytes > choosing_.most_workspace && scratch(ConvAlgorithm::kDirect) < bytes ? ConvAlgorithm::kDirect : usual;
}

void Lowerer::choose_convolutions() {
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    if (step.kind != Kind::kConv) continue;
    choose_convolution(i);
    if (choosing_.most_workspace == SIZE_MAX) continue;
    const ConvAlgorithm found = within_workspace(case_of(i), step.algorithm);
    if (found != step.algorithm) program.steps[i].choice = "needs less workspace, so that the session fits";
    step.algorithm = found;
  }
}

void Lowerer::build_convolution(size_t i) {
  Step& step = notes.steps[i];
  ConvProblem p = case_of(i).problem;
  if (!step.kernel_finishes) {
    if (step.z_in_workspace) p.dst_type = DType::kF32;
    p.sum = step.sum_in_place;
    p.relu = step.activation.is_relu() && !step.epilogue;
    p.samples = slice_of(step);
  }
  step.kernel.emplace(step.algorithm, p, notes.threads);
  if (const auto grid = quantised_.rounded.find(program.steps[i].node.output); grid != quantised_.rounded.end()) {
    step.grid = grid->second;
  }
}

void Lowerer::build_linear(size_t i) {
  Step& step = notes.steps[i];
  const ProgramTensor& x = tensor(step.input);
  const ProgramTensor& y = tensor(step.output);
  LinearProblem p;
  p.samples = program.micro_batch;
  p.in_features = x.shape.channels;
  p.out_features = y.shape.channels;
  p.src_pitch = x.channel_pitch;
  p.dst_pitch = y.channel_pitch;
  p.src_type = x.dtype;
  p.dst_type = step.z_in_workspace ? DType::kF32 : y.dtype;
  step.kernel.emplace(p, notes.threads);
}

void Lowerer::build_kernels() {
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    Step& step = notes.steps[i];
    ProgramStep& made = program.steps[i];
    if (step.kind == Kind::kConv) build_convolution(i);
    if (step.kind == Kind::kLinear) build_linear(i);
    if (step.kernel) {
      made.kernel = step.kernel->name() + (step.epilogue ? " + epilogue" : "");
      made.arithmetic = step.kernel->arithmetic();
    }
    reserve_workspace(i);
  }
}

/// The step's workspace: first the kernel's own, then what our passes need.
void Lowerer::reserve_workspace(size_t i) {
  Step& step = notes.steps[i];
  const ProgramTensor& y = tensor(step.output);
  size_t bytes = step.kernel ? step.kernel->scratch_bytes() : 0;
  if (step.z_in_workspace) {
    // Moments are those of the whole batch, so all of z must be there.
    const int64_t samples = step.by_batch_moments() ? program.micro_batch : step.kernel->samples();
    step.z_offset = reserve(bytes, z_bytes(y) * static_cast<size_t>(samples));
  }
  if (step.by_batch_moments()) {
    step.moments_offset = reserve(bytes, kernels::cpu::batch_moments_workspace_bytes(y.shape.channels, notes.threads));
  }
  program.steps[i].workspace_bytes = bytes;
}

std::string describe_kernels(const Program& program, const Notes& notes) {
  uint64_t names = kHashSeed;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    const Step& step = notes.steps[i];
    const int64_t slice = step.kernel && !step.kernel_finishes ? step.kernel->samples() : 1;
    const std::string line = program.steps[i].kernel + "/" + std::to_string(slice) + "\n";
    names = hash_bytes(line.data(), line.size(), names);
  }
  return library_name() + " " + std::string(elek::name_of(notes.layout)) + " " + to_hex(names);
}

}  // namespace elek::backends::cpu
