// SPDX-License-Identifier: Apache-2.0
// Tests: tests/backends/choose_test.cpp
#include "backends/cpu/choose.h"

#include <bit>

#include "backends/cpu/onednn.h"

namespace elek::backends::cpu {

bool may_run(ConvAlgorithm algorithm, const ConvCase& conv, const LowerOptions& options) {
  const bool apart = options.batch_norm == BatchNorm::kApart || !conv.activation.is_clamp();
  if (does_epilogue(algorithm) && apart && library_has_kernels() && algorithm != ConvAlgorithm::kInt8) return false;
  return fits(algorithm, conv.problem, conv.threads);
}

/// Winograd F(4x4), which needs the fewest multiplications, if it fits and is allowed. Our own kernel for depthwise
/// convolutions. oneDNN for other grouped convolutions, for the first layer (plain input), for batch norm kept apart, for
/// activations that do not clamp, and for kernels larger than 1x1 with stride 1 if Winograd is off. Our direct kernel for the
/// rest. In bf16 our direct kernel only where sums are watched: its epilogue takes them, and oneDNN's, which is a little faster
/// without them, needs a pass of its own. Where oneDNN is missing or has only reference code, our kernels run whatever they
/// can: everything in f32.
ConvAlgorithm usual_algorithm(const ConvCase& conv, const LowerOptions& options) {
  if (conv.problem.int8) return ConvAlgorithm::kInt8;
  const bool exact = options.deterministic || options.batch_norm == BatchNorm::kApart;
  const bool winograd = options.winograd != Winograd::kOff && !exact;
  if (winograd && may_run(ConvAlgorithm::kWinograd4, conv, options))
    return options.winograd == Winograd::k2x2 ? ConvAlgorithm::kWinograd2 : ConvAlgorithm::kWinograd4;
  const ConvProblem& p = conv.problem;
  const bool depthwise = p.groups > 1 && p.groups == p.src.channels && p.groups == p.dst.channels && p.dilation == Extent(1);
  const bool bf16 = p.src_type == DType::kBF16;
  const bool direct = depthwise || (p.groups == 1 && (p.kernel == Extent(1) || p.stride != Extent(1)));
  const bool ours = p.src_layout == p.dst_layout && (bf16 ? conv.sums != 0 : direct);
  if (library_has_kernels() && !ours) return ConvAlgorithm::kLibrary;
  return may_run(ConvAlgorithm::kDirect, conv, options) ? ConvAlgorithm::kDirect : ConvAlgorithm::kLibrary;
}

bool times_may_decide(const ConvCase& conv, const LowerOptions& options) {
  return options.kernels != KernelChoice::kRule && !options.deterministic && options.winograd == Winograd::kAuto &&
         !options.keep_values && !options.batch_moments && options.batch_norm != BatchNorm::kApart &&
         may_run(ConvAlgorithm::kDirect, conv, options);
}

std::string times_key(const std::string& machine, const ConvCase& conv) {
  const ConvProblem& p = conv.problem;
  const auto text = [](int64_t value) { return std::to_string(value); };
  return machine + " | " + text(p.samples) + " x " + to_string(p.src) + " -> " + text(p.dst.channels) + " " +
         to_string(Window{p.kernel, p.stride, p.padding, p.dilation}) + (p.groups > 1 ? " groups " + text(p.groups) : "") +
         " " + std::string(elek::name_of(p.src_layout)) + (conv.residual ? " residual" : "") +
         (conv.activation.is_none() ? "" : " " + std::string(elek::name_of(conv.activation.kind))) + " sums " +
         text(conv.sums) + (conv.tap_norms ? " norms" : "") + " | among 4^" + text((std::bit_width(conv.parameters) + 1) / 2);
}

}  // namespace elek::backends::cpu
