// SPDX-License-Identifier: Apache-2.0
// Parts run once each, on any number of threads, whatever the other threads do; waiting threads sleep.
#include "core/threads.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

namespace elek {
namespace {

using namespace std::chrono_literals;

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6; };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

TEST(Threads, EveryPartRunsOnceForAnyNumberOfParts) {
  for (const int parts : {1, 2, 3, 7, 64, 1023, 1024, 1025, 5000}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(parts));
    for (int repeat = 0; repeat < 3; ++repeat) for_parts(parts, [&](int part) { runs[static_cast<size_t>(part)]++; });
    for (const auto& count : runs) ASSERT_EQ(count, 3) << parts << " parts";
  }
}

/// Jobs of alternating sizes, so that a helper that comes late meets another job than it saw.
TEST(Threads, ALateHelperTakesNothingOfTheNextJob) {
  std::array<std::atomic<int>, 8> runs{};
  for (int job = 0; job < 20000; ++job) {
    const int parts = 2 + job % 7;
    for_parts(parts, [&](int part) { runs[static_cast<size_t>(part)].fetch_add(1, std::memory_order_relaxed); });
    int total = 0;
    for (auto& count : runs) total += count.exchange(0);
    ASSERT_EQ(total, parts) << "job " << job;
  }
}

TEST(Threads, TheCallerSeesWhatThePartsWrote) {
  std::vector<int64_t> sums(16);
  for (int job = 1; job < 5000; ++job) {
    for_parts(16, [&](int part) { sums[static_cast<size_t>(part)] += job; });
    for (const int64_t sum : sums) ASSERT_EQ(sum, int64_t{job} * (job + 1) / 2);
  }
}

TEST(Threads, EachThreadRunsItsOwnPartAtTheSameTime) {
  std::atomic<int> arrived{0};
  std::mutex mutex;
  std::set<std::thread::id> ids;
  ASSERT_TRUE(for_each_thread(4, [&](int /*thread*/) {
    arrived++;
    while (arrived < 4) std::this_thread::yield();  // would not end if one thread ran two of them
    const std::lock_guard lock(mutex);
    ids.insert(std::this_thread::get_id());
  }));
  EXPECT_EQ(ids.size(), 4U);
  EXPECT_TRUE(ids.contains(std::this_thread::get_id()));
}

TEST(Threads, PartsOfAPartRunWhereTheyAre) {
  std::atomic<int> runs{0};
  for_parts(3, [&](int /*part*/) {
    const std::thread::id here = std::this_thread::get_id();
    for_parts(5, [&](int /*inner*/) {
      EXPECT_EQ(std::this_thread::get_id(), here);
      runs++;
    });
    EXPECT_FALSE(for_each_thread(2, [](int /*thread*/) {}));
  });
  EXPECT_EQ(runs, 15);
}

TEST(Threads, CallersDoNotDisturbEachOther) {
  std::vector<std::thread> callers;
  std::atomic<int> wrong{0};
  for (int caller = 0; caller < 4; ++caller)
    callers.emplace_back([&wrong] {
      for (int job = 0; job < 2000; ++job) {
        std::atomic<int> sum{0};
        for_parts(5, [&](int part) { sum += part; });
        if (sum != 10) wrong++;
      }
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, WaitingThreadsSleep) {
  ASSERT_TRUE(for_each_thread(8, [](int /*thread*/) {}));
  std::this_thread::sleep_for(20ms);  // the helpers have gone to sleep
  const double before = cpu_seconds();
  std::this_thread::sleep_for(300ms);
  EXPECT_LT(cpu_seconds() - before, 0.05) << "helpers that wait use the processor";
}

/// A part that takes long: the caller waits for it asleep.
TEST(Threads, ACallerThatWaitsSleeps) {
  const double before = cpu_seconds();
  ASSERT_TRUE(for_each_thread(2, [](int thread) {
    if (thread == 1) std::this_thread::sleep_for(300ms);
  }));
  EXPECT_LT(cpu_seconds() - before, 0.05);
}

/// One thread is kept in its part until all others are done: the other thread does these.
TEST(Threads, AThreadThatLosesItsCoreDoesNotHoldUpTheOtherParts) {
  if (usable_cores() < 2) GTEST_SKIP() << "needs two cores";
  std::atomic<int> done{0};
  std::atomic<bool> held{false};
  for_parts(100, [&](int part) {
    if (part == 1 && !held.exchange(true)) {  // whoever runs part 1 stays in it until the others are done
      while (done < 99) std::this_thread::yield();
    }
    done++;
  });
  EXPECT_EQ(done, 100);
}

TEST(Threads, AChildProcessRunsItsPartsAlone) {
  for_parts(4, [](int /*part*/) {});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<int> runs{0};
    for_parts(9, [&](int /*part*/) { runs++; });
    _exit(runs == 9 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

/// Bytes of address space that the process uses now.
rlim_t address_space() {
  rlim_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
}

/// A process without any room cannot even note that a thread has something to destroy (glibc then ends it), so a little is
/// left.
TEST(Threads, WithoutRoomForAThreadTheCallerDoesAll) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<int> runs{0};
    std::set<std::thread::id> threads;
    std::mutex mutex;
    std::thread([&] {                                           // a thread of its own, so that it has no helpers yet
      const rlim_t most = address_space() + (rlim_t{1} << 20);  // a thread's stack takes 2 MiB or more
      const rlimit little{most, most};
      if (setrlimit(RLIMIT_AS, &little) != 0) _exit(2);
      for_parts(9, [&](int /*part*/) {
        runs++;
        std::this_thread::sleep_for(1ms);  // long enough for a helper, if there were one
        const std::lock_guard lock(mutex);
        threads.insert(std::this_thread::get_id());
      });
    })
        .join();
    _exit(runs == 9 && threads.size() == 1 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Threads, TheDefaultIsTheCoresThatAreAllowed) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), CPU_COUNT(&allowed));
  const char* const asked = getenv("OMP_NUM_THREADS");
  EXPECT_EQ(default_threads(), asked != nullptr ? atoi(asked) : usable_cores());
}

}  // namespace
}  // namespace elek
