// SPDX-License-Identifier: Apache-2.0
// While threads are pinned, each thread of a team has its own core; afterwards it may run where it could before.
#include "backends/cpu/pinned_cores.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

#include "core/threads.h"

namespace elek::backends::cpu {
namespace {

/// The cores that each thread of a team of this size may run on.
std::vector<std::set<int>> allowed_cores(int threads) {
  std::vector<std::set<int>> of_thread(static_cast<size_t>(threads));
  EXPECT_TRUE(for_each_thread(threads, [&](int thread) {
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) {
      for (int core = 0; core < CPU_SETSIZE; ++core)
        if (CPU_ISSET(core, &allowed)) of_thread[static_cast<size_t>(thread)].insert(core);
    }
  }));
  return of_thread;
}

TEST(PinnedCores, EachThreadHasOneOfItsOwnAndThenAllAgain) {
  const std::vector<std::set<int>> before = allowed_cores(2);
  {
    const PinnedCores cores(2);
    const std::vector<std::set<int>> during = allowed_cores(2);
    if (before[0].size() < 2) {
      EXPECT_EQ(during, before);
    } else {
      EXPECT_EQ(during[0].size(), 1U);
      EXPECT_EQ(during[1].size(), 1U);
      EXPECT_NE(during[0], during[1]);
      EXPECT_TRUE(before[0].contains(*during[0].begin()) && before[0].contains(*during[1].begin()));
    }
  }
  EXPECT_EQ(allowed_cores(2), before);
}

TEST(PinnedCores, MoreThreadsThanCoresAreLeftAlone) {
  const int threads = static_cast<int>(allowed_cores(1)[0].size()) + 1;
  const std::vector<std::set<int>> before = allowed_cores(threads);
  const PinnedCores cores(threads);
  EXPECT_EQ(allowed_cores(threads), before);
}

}  // namespace
}  // namespace elek::backends::cpu
