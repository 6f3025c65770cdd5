// SPDX-License-Identifier: Apache-2.0
// While this object lives, the calling thread and its helpers run on a core of their own each. Used only while something is
// measured. A session leaves its threads to the scheduler, because other work of the process may need the cores. Threads that
// have just started may share one core for tens of milliseconds; a short measurement then shows half the speed, or the
// scheduler's tick.
// Tests: tests/backends/pinned_cores_test.cpp
#pragma once

#include <sched.h>

#include <vector>

namespace elek::backends::cpu {

class PinnedCores {
 public:
  /// For the calling thread and its helpers (core/threads.h), `threads` in all. Binds nothing if the process has fewer cores,
  /// or the system refuses.
  explicit PinnedCores(int threads);
  PinnedCores(const PinnedCores&) = delete;
  PinnedCores& operator=(const PinnedCores&) = delete;
  /// Each thread may run again on all cores that it was allowed before.
  ~PinnedCores();

 private:
  std::vector<cpu_set_t> before_;  // of each thread; empty if nothing is bound
};

}  // namespace elek::backends::cpu
