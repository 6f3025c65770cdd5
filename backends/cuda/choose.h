// SPDX-License-Identifier: Apache-2.0
// Which of the ways that work a layer takes, and the words for it in the choice table. Pure; the times are the device's.
// Tests: tests/deviceless/choose_test.cpp
#pragma once

#include <string>

#include "core/result.h"

namespace elek::backends::cuda {

/// How a convolution step runs.
enum class Way : uint8_t {
  kWhole,     // one kernel does everything that is asked for: fused
  kObserve,   // split: one kernel for all but the sums, which a second pass takes from what was stored
  kEpilogue,  // split: the raw convolution, then one pass for bias, residual, ReLU and sums
};
[[nodiscard]] std::string_view name_of(Way way);

/// One way to run a step: its time, or why it is not to be had.
struct WayOption {
  Way way = Way::kWhole;
  std::string engine;
  double kernel_us = 0;  // the convolution; 0 = not timed
  double pass_us = 0;    // the second pass
  std::string no;        // not empty: it cannot be had
  [[nodiscard]] double total_us() const noexcept { return kernel_us + pass_us; }
  [[nodiscard]] bool timed() const noexcept { return kernel_us > 0; }
};

struct WayChoice {
  bool first = true;
  std::string reason;  // "fused 12.1 us < observe 14.9 us (9.8 + 5.1)"
};
/// Of two ways the faster; where one is not to be had, or not timed, the other resp. the first. No{both reasons} if neither is.
[[nodiscard]] Result<WayChoice> choose(const WayOption& first, const WayOption& second);

}  // namespace elek::backends::cuda
