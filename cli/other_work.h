// SPDX-License-Identifier: Apache-2.0
// How many cores other work kept busy while something was timed: a figure that was measured beside other work tells of that
// work, not of the network. Linux answers (/proc/stat against the process's own time, in ticks of 10 ms).
// Tests: tests/cli/other_work_test.cpp
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "elek/types.h"

namespace elek::cli {

/// Counts from when it is made. In a container the system tells of the whole machine.
class OtherWork {
 public:
  OtherWork();
  /// So far; nothing where the system does not say, or before 0.2 s have passed, which is too few ticks.
  [[nodiscard]] std::optional<double> cores() const;

 private:
  std::chrono::steady_clock::time_point start_;
  std::optional<double> busy_s_;  // of all cores, since the machine's start
  double own_s_ = 0;
};

/// A line of warning where `threads` (0 = all cores) and what else ran did not fit the machine's cores: by more than a tenth of
/// a core. Empty where they did, where it is not known, and for what ran on a GPU.
[[nodiscard]] std::string other_work_text(std::optional<double> other_cores, int threads, const Device& device);

}  // namespace elek::cli
