// SPDX-License-Identifier: Apache-2.0
#include "bench/company.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <stdexcept>
#include <thread>

namespace elek::bench {
namespace {

double seconds_of(clockid_t clock) {
  timespec time{};
  if (clock_gettime(clock, &time) != 0) throw std::runtime_error("a processor clock cannot be read");
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace

Company::Company(const Work& work) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) throw std::runtime_error("no pipe to a child process");
  child_ = fork();
  if (child_ < 0) throw std::runtime_error("no child process");
  if (child_ == 0) {
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    // Our own threads did not come along, so the child works on a new thread, which gets helpers of its own.
    std::thread([&] {
      work([&ends] {
        if (write(ends[1], "r", 1) != 1) _exit(1);
      });
    }).join();
    _exit(0);
  }
  (void)close(ends[1]);
  char byte = 0;
  ssize_t got = 0;
  do {
    got = read(ends[0], &byte, 1);
  } while (got < 0 && errno == EINTR);
  (void)close(ends[0]);
  if (got != 1) throw std::runtime_error("the other process ended before it began");
}

Company::~Company() {
  (void)kill(child_, SIGKILL);
  (void)waitpid(child_, nullptr, 0);
}

void keep_a_core_busy(const std::function<void()>& ready) {
  ready();
  for (std::atomic<unsigned> turns{0};;) turns.fetch_add(1, std::memory_order_relaxed);
}

void keep_parent_to(double cores, const std::function<void()>& ready) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds kPeriod{100};
  constexpr std::chrono::milliseconds kLook{1};
  const pid_t parent = getppid();
  clockid_t clock{};
  if (clock_getcpuclockid(parent, &clock) != 0) _exit(1);
  ready();
  for (;;) {
    const Clock::time_point end = Clock::now() + kPeriod;
    const double share = seconds_of(clock) + cores * std::chrono::duration<double>(kPeriod).count();
    while (Clock::now() < end) {
      if (seconds_of(clock) >= share) {
        (void)kill(parent, SIGSTOP);
        std::this_thread::sleep_until(end);
        (void)kill(parent, SIGCONT);
      }
      std::this_thread::sleep_for(kLook);
    }
  }
}

double cpu_seconds() { return seconds_of(CLOCK_PROCESS_CPUTIME_ID); }

}  // namespace elek::bench
