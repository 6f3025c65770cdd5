// SPDX-License-Identifier: Apache-2.0
// ThreadCount: OpenMP's thread count for the length of a scope. oneDNN fixes a primitive's thread count when it is made and
// asks OpenMP again when it runs, so both happen under the same count.
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
