// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/pinned_cores.h"

#include <omp.h>

#include <cstddef>

namespace elek::backends::cpu {

PinnedCores::PinnedCores(int threads) {
  cpu_set_t allowed;
  if (omp_get_proc_bind() != omp_proc_bind_false || sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core)
    if (CPU_ISSET(core, &allowed)) cores.push_back(core);
  if (static_cast<int>(cores.size()) < threads) return;
  before_.assign(static_cast<size_t>(threads), allowed);
#pragma omp parallel num_threads(threads)
  {
    const auto i = static_cast<size_t>(omp_get_thread_num());
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cores[i], &one);
    sched_getaffinity(0, sizeof one, &before_[i]);
    sched_setaffinity(0, sizeof one, &one);
  }
}

PinnedCores::~PinnedCores() {
  if (before_.empty()) return;
  const int threads = static_cast<int>(before_.size());
#pragma omp parallel num_threads(threads)
  sched_setaffinity(0, sizeof(cpu_set_t), &before_[static_cast<size_t>(omp_get_thread_num())]);
}

}  // namespace elek::backends::cpu
