// SPDX-License-Identifier: Apache-2.0
// Threads that wait well. Work is cut into parts; the calling thread and its helpers claim parts until none is left.
// A helper that waits spins for a short time, so that the next layer of a network starts at once, and then sleeps. So elek does
// not take time from other programs, and one core that is taken away costs its share only: whoever is free claims the part.
// OpenMP is not used, because its threads spin for milliseconds; with other work on the machine each layer then costs a time
// slice of the scheduler.
// Results depend on the number of parts, never on which thread runs a part. Every calling thread has helpers of its own. They
// are started when they are first needed; if the system gives fewer, those that there are do the work. Tests:
// tests/unit/threads_test.cpp
#pragma once

#include <algorithm>
#include <cstdint>

namespace elek {

/// The cores that this process may use: its affinity mask, and the CPU quota of its control groups, rounded up. Read once.
[[nodiscard]] int usable_cores() noexcept;
/// Number of threads where none is asked for: OMP_NUM_THREADS if that is set, else usable_cores().
[[nodiscard]] int default_threads() noexcept;

namespace detail {
using PartCall = void (*)(const void* context, int part);
void run_parts(int parts, PartCall call, const void* context) noexcept;
[[nodiscard]] bool run_on_each_thread(int threads, PartCall call, const void* context) noexcept;
}  // namespace detail

/// Calls f(0) … f(parts - 1), once each, and returns when all are done. Uses up to `parts` threads, but not more than
/// usable_cores(). `f` must not throw, and must not wait for another part.
template <typename F>
void for_parts(int parts, const F& f) noexcept {
  if (parts == 1) {
    f(0);
    return;
  }
  detail::run_parts(
      parts, [](const void* context, int part) { (*static_cast<const F*>(context))(part); }, &f);
}

/// Calls f(0) on this thread and f(1) … f(threads - 1) each on a helper of its own, at the same time. So the calls may wait for
/// each other. False, and no call is made, if the system gives fewer threads.
template <typename F>
[[nodiscard]] bool for_each_thread(int threads, const F& f) noexcept {
  return detail::run_on_each_thread(
      threads, [](const void* context, int part) { (*static_cast<const F*>(context))(part); }, &f);
}

}  // namespace elek
