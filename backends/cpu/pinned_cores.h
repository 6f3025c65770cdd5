// SPDX-License-Identifier: Apache-2.0
// PinnedCores: while it lives, each thread of OpenMP's team has a core of its own. For what is measured, not for what is used:
// a session leaves its threads to the scheduler, as other work of the process may want it. Threads just started or woken may
// share a core for tens of milliseconds where the scheduler packs them, and a short measurement then shows half the speed, or
// the scheduler's tick. Tests: tests/backends/pinned_cores_test.cpp
#pragma once

#include <sched.h>

#include <vector>

namespace elek::backends::cpu {

class PinnedCores {
 public:
  /// Of the calling thread and the team's others, `threads` in all. Nothing is bound where OpenMP binds threads itself
  /// (OMP_PROC_BIND), the process has fewer cores, or the system says no.
  explicit PinnedCores(int threads);
  PinnedCores(const PinnedCores&) = delete;
  PinnedCores& operator=(const PinnedCores&) = delete;
  /// Each thread may go again wherever it was allowed before.
  ~PinnedCores();

 private:
  std::vector<cpu_set_t> before_;  // of each thread; empty if nothing is bound
};

}  // namespace elek::backends::cpu
