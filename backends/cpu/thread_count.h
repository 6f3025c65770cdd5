// SPDX-License-Identifier: Apache-2.0
// ThreadCount sets OpenMP's thread count for a scope. oneDNN fixes a primitive's thread count when the primitive is made, and
// asks OpenMP again when it runs, so both must happen under the same count.
#pragma once

#include <omp.h>

namespace elek::backends::cpu {

class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(omp_get_max_threads()) { omp_set_num_threads(threads); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;
  ~ThreadCount() { omp_set_num_threads(before_); }

 private:
  int before_;
};

}  // namespace elek::backends::cpu
