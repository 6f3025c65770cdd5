// SPDX-License-Identifier: Apache-2.0
// Tests: tests/backends/choose_test.cpp
#include "backends/cpu/choose.h"

#include <bit>

namespace elek::backends::cpu {

bool may_run(ConvAlgorithm algorithm, const ConvCase& conv, const LowerOptions& options) {
  const bool apart = options.batch_norm == BatchNorm::kApart || !conv.activation.is_clamp();
  if (does_epilogue(algorithm) && apart) return false;
  return fits(algorithm, conv.problem, conv.threads);
}

/// Winograd where it fits and may be, F(4x4), which does fewest multiplications. Depthwise convolutions are computed by our own
/// kernel. oneDNN for other grouped convolutions, the first
/// layer (plain input), batch norm kept apart, activations other than clamps, and 3x3 without stride where Winograd is not
/// wanted; the rest is computed by our direct kernel.
ConvAlgorithm usual_algorithm(const ConvCase& conv, const LowerOptions& options) {
  const bool winograd = options.winograd != Winograd::kOff && !options.deterministic;
  if (winograd && may_run(ConvAlgorithm::kWinograd4, conv, options))
    return options.winograd == Winograd::k2x2 ? ConvAlgorithm::kWinograd2 : ConvAlgorithm::kWinograd4;
  const bool dense = conv.problem.groups == 1;
  if (dense && conv.problem.kernel > 1 && conv.problem.stride == 1) return ConvAlgorithm::kLibrary;
  return may_run(ConvAlgorithm::kDirect, conv, options) ? ConvAlgorithm::kDirect : ConvAlgorithm::kLibrary;
}

bool times_may_decide(const ConvCase& conv, const LowerOptions& options) {
  return options.kernels != KernelChoice::kRule && !options.deterministic && options.winograd == Winograd::kAuto &&
         !options.keep_values && !options.batch_moments && may_run(ConvAlgorithm::kDirect, conv, options);
}

std::string times_key(const std::string& machine, const ConvCase& conv) {
  const ConvProblem& p = conv.problem;
  const auto text = [](int64_t value) { return std::to_string(value); };
  return machine + " | " + text(p.samples) + " x " + to_string(p.src) + " -> " + text(p.dst.channels) + " kernel " +
         text(p.kernel) + " stride " + text(p.stride) + " padding " + text(p.padding) +
         (p.groups > 1 ? " groups " + text(p.groups) : "") + " " + std::string(elek::name_of(p.src_layout)) +
         (conv.residual ? " residual" : "") +
         (conv.activation.is_none() ? "" : " " + std::string(elek::name_of(conv.activation.kind))) + " sums " +
         text(conv.sums) + (conv.tap_norms ? " norms" : "") + " | among 4^" + text((std::bit_width(conv.parameters) + 1) / 2);
}

}  // namespace elek::backends::cpu
