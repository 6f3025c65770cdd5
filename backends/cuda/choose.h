// SPDX-License-Identifier: Apache-2.0
// Chooses how much of a convolution step is fused into one kernel, and writes the text for the table of choices. Pure
// functions: the times come from the device. Tests: tests/deviceless/choose_test.cpp
#pragma once

#include <span>
#include <string>

#include "core/result.h"

namespace elek::backends::cuda {

/// What the kernel of a convolution does of its step.
enum class Fusion : uint8_t {
  kAll,         // fused: one kernel does everything that is asked for
  kAllButSums,  // split: one kernel does all but the sums; a second pass takes them from the stored values
  kNone,        // split: the raw convolution, then one pass for bias, residual, ReLU and sums
};
[[nodiscard]] std::string_view name_of(Fusion fusion);

/// A fusion that a step could have: its time, or the reason why it is not available.
struct FusionOption {
  Fusion fusion = Fusion::kAll;
  std::string engine;
  double kernel_us = 0;  // the convolution; 0 = not timed
  double pass_us = 0;    // the second pass
  std::string no;        // the reason, if it is not available
  [[nodiscard]] double total_us() const noexcept { return kernel_us + pass_us; }
  [[nodiscard]] bool timed() const noexcept { return kernel_us > 0; }
};

struct FusionChoice {
  size_t index = 0;    // among the options
  std::string reason;  // "fused 12.1 us <= split, observe 14.9 us (9.8 us + 5.1 us)"
};
/// Returns the fastest of the available options, the first of equals. If one of them is not timed, the first that is available.
/// No{all reasons} if none is.
[[nodiscard]] Result<FusionChoice> choose(std::span<const FusionOption> options);

}  // namespace elek::backends::cuda
