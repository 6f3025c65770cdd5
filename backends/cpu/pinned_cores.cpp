// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/pinned_cores.h"

#include <cstddef>

#include "core/threads.h"

namespace elek::backends::cpu {

PinnedCores::PinnedCores(int threads) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  if (static_cast<int>(cores.size()) < threads) return;
  before_.assign(static_cast<size_t>(threads), allowed);
  const bool pinned = for_each_thread(threads, [&](int thread) {
    const auto i = static_cast<size_t>(thread);
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cores[i], &one);
    sched_getaffinity(0, sizeof one, &before_[i]);
    sched_setaffinity(0, sizeof one, &one);
  });
  if (!pinned) before_.clear();
}

PinnedCores::~PinnedCores() {
  if (before_.empty()) return;
  // the same helpers as before: there are at least as many
  (void)for_each_thread(static_cast<int>(before_.size()),
                        [&](int thread) { sched_setaffinity(0, sizeof(cpu_set_t), &before_[static_cast<size_t>(thread)]); });
}

}  // namespace elek::backends::cpu
