// SPDX-License-Identifier: Apache-2.0
// Chooses between the ways that a layer can run, and writes the text for the table of choices. Pure functions: the times come
// from the device. Tests: tests/deviceless/choose_test.cpp
#pragma once

#include <string>

#include "core/result.h"

namespace elek::backends::cuda {

/// How a convolution step runs.
enum class Way : uint8_t {
  kWhole,     // fused: one kernel does everything that is asked for
  kObserve,   // split: one kernel does all but the sums; a second pass takes them from the stored values
  kEpilogue,  // split: the raw convolution, then one pass for bias, residual, ReLU and sums
};
[[nodiscard]] std::string_view name_of(Way way);

/// One way to run a step: its time, or the reason why it is not available.
struct WayOption {
  Way way = Way::kWhole;
  std::string engine;
  double kernel_us = 0;  // the convolution; 0 = not timed
  double pass_us = 0;    // the second pass
  std::string no;        // the reason, if it is not available
  [[nodiscard]] double total_us() const noexcept { return kernel_us + pass_us; }
  [[nodiscard]] bool timed() const noexcept { return kernel_us > 0; }
};

struct WayChoice {
  bool first = true;
  std::string reason;  // "fused 12.1 us < observe 14.9 us (9.8 + 5.1)"
};
/// Returns the faster of two ways. If one is not available, the other; if one is not timed, the first. No{both reasons} if
/// neither is available.
[[nodiscard]] Result<WayChoice> choose(const WayOption& first, const WayOption& second);

}  // namespace elek::backends::cuda
