// SPDX-License-Identifier: Apache-2.0
// How many cores other work used while something was timed. A time that was measured beside other work says little about the
// network. Read from /proc/stat and the process's own time (Linux), in ticks of 10 ms.
// Tests: tests/cli/other_work_test.cpp
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "elek/types.h"

namespace elek::cli {

/// Counts from its construction on. In a container the system reports the whole machine.
class OtherWork {
 public:
  OtherWork();
  /// Cores used so far; nothing if the system does not report it, or before 0.2 s have passed (too few ticks).
  [[nodiscard]] std::optional<double> cores() const;

 private:
  std::chrono::steady_clock::time_point start_;
  std::optional<double> busy_s_;  // of all cores, since the machine's start
  double own_s_ = 0;
};

/// A warning if `threads` (0 = all cores) plus the other work exceeded the machine's cores by more than a tenth of a core.
/// Empty otherwise, if it is not known, and for runs on a GPU.
[[nodiscard]] std::string other_work_text(std::optional<double> other_cores, int threads, const Device& device);

}  // namespace elek::cli
