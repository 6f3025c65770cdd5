// SPDX-License-Identifier: Apache-2.0
// Lowering's choice of a kernel for each convolution: by a rule over its shape, or by what was timed on this machine.
// Tests: tests/golden/session_test.cpp, tests/backends/kernel_times_test.cpp
#include <algorithm>
#include <bit>

#include "backends/cpu/lower.h"

namespace elek::backends::cpu {
std::optional<OwnConv> Lowerer::own_kernel(size_t i, ConvKernel kernel) const {
  const Step& step = notes.steps[i];
  if (step.kind != Kind::kConv || notes.options.batch_norm == BatchNorm::kApart || kernel == ConvKernel::kLibrary) return {};
  if (notes.options.precision != Precision::kF32) return {};  // ours multiply f32
  const Conv2dAttrs& a = program.steps[i].node.node.as<Conv2dAttrs>();
  const ProgramTensor& x = tensor(step.input);
  if (a.groups != 1 || x.layout != tensor(step.output).layout) return {};
  if (kernel == ConvKernel::kDirect) {
    const auto direct = kernels::cpu::plan_gemm_conv({program.micro_batch, x.shape.channels, a.out_channels, x.shape.height,
                                                      x.shape.width, a.kernel, a.stride, a.padding, x.layout, notes.threads});
    return direct ? std::optional<OwnConv>(direct.value()) : std::nullopt;
  }
  if (a.kernel != 3 || a.stride != 1) return {};
  const auto tile = kernel == ConvKernel::kWinograd4 ? kernels::cpu::WinogradTile::k4x4 : kernels::cpu::WinogradTile::k2x2;
  const auto winograd = kernels::cpu::plan_winograd({program.micro_batch, x.shape.channels, a.out_channels, x.shape.height,
                                                     x.shape.width, a.padding, x.layout, tile, notes.threads});
  return winograd ? std::optional<OwnConv>(winograd.value()) : std::nullopt;
}

/// The rule. It looks at the shape alone, so that a network runs the same kernels every time it is loaded. Winograd where it
/// fits and may be, F(4x4), which does fewest multiplications. oneDNN for grouped convolutions, the first layer (plain input),
/// batch norm kept apart, and 3x3 without stride where Winograd is not wanted; the rest is our own direct kernel's.
ConvKernel Lowerer::usual_kernel(size_t i) const {
  const LowerOptions& o = notes.options;
  const Conv2dAttrs& a = program.steps[i].node.node.as<Conv2dAttrs>();
  const auto four = own_kernel(i, ConvKernel::kWinograd4);
  if (o.winograd != Winograd::kOff && !o.deterministic && four)
    return o.winograd == Winograd::k2x2 ? ConvKernel::kWinograd2 : ConvKernel::kWinograd4;
  if (a.kernel > 1 && a.stride == 1) return ConvKernel::kLibrary;
  return own_kernel(i, ConvKernel::kDirect) ? ConvKernel::kDirect : ConvKernel::kLibrary;
}

/// Whether times may decide: not where exactness or one particular kernel was asked for, nor where values are looked at.
bool Lowerer::may_choose(size_t i) const {
  const LowerOptions& o = notes.options;
  return choosing_.times != nullptr && !o.deterministic && o.winograd == Winograd::kAuto && !o.keep_values &&
         !o.batch_moments && own_kernel(i, ConvKernel::kDirect).has_value();
}

/// Everything that a kernel's time depends on: machine, problem, last act, and how much else passes through the caches between
/// two runs of it (the parameters' bytes, in steps of four).
std::string Lowerer::conv_key(size_t i) const {
  const Step& step = notes.steps[i];
  const Conv2dAttrs& a = program.steps[i].node.node.as<Conv2dAttrs>();
  const ProgramTensor& x = tensor(step.input);
  uint64_t parameters = 0;
  for (const ParameterSpec& spec : required_parameters(graph_)) parameters += static_cast<uint64_t>(spec.shape.elements());
  const auto text = [](int64_t value) { return std::to_string(value); };
  return machine_key(notes.threads) + " | " + text(program.micro_batch) + " x " + to_string(x.shape) + " -> " +
         text(a.out_channels) + " kernel " + text(a.kernel) + " stride " + text(a.stride) + " padding " + text(a.padding) +
         " " + std::string(elek::name_of(x.layout)) + (step.residual >= 0 ? " residual" : "") + (step.relu ? " relu" : "") +
         " sums " + text(sums_of(step)) + (step.tap_norm >= 0 ? " norms" : "") + " | among 4^" +
         text((std::bit_width(parameters) + 1) / 2);
}

void Lowerer::choose_convolution(size_t i) {
  Step& step = notes.steps[i];
  ConvKernel kernel = usual_kernel(i);
  if (may_choose(i)) {
    step.times_key = conv_key(i);
    if (const ConvTimes* times = choosing_.times->find(step.times_key)) {
      step.timed = true;
      kernel = times->winner(kernel);
      program.steps[i].choice = "timed: " + times->text();
    } else if (choosing_.tried && (*choosing_.tried == ConvKernel::kLibrary || own_kernel(i, *choosing_.tried))) {
      kernel = *choosing_.tried;
    }
  }
  step.own = own_kernel(i, kernel);
}

void Lowerer::choose_convolutions() {
  for (size_t i = 0; i < notes.steps.size(); ++i) {
    if (notes.steps[i].kind == Kind::kConv) choose_convolution(i);
  }
}

}  // namespace elek::backends::cpu
