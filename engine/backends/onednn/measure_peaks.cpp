// SPDX-License-Identifier: Apache-2.0
// A peak is the best of a few short turns: what a loop reaches when nothing else disturbs it. Memory is measured for sets from
// what fits a first-level cache to what fits none. Tests: tests/golden/profile_test.cpp
#include "engine/backends/onednn/measure_peaks.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "engine/backends/onednn/thread_count.h"
#include "engine/base/runtime.h"
#include "engine/memory/tensor.h"
#include "kernels/cpu/peaks.h"

namespace elek::onednn {
namespace {

constexpr int kTurns = 5;
constexpr double kTurnSeconds = 4e-3;
constexpr size_t kSmallestSet = size_t{128} << 10;
constexpr size_t kLargestSet = size_t{128} << 20;

/// The best rate of a few turns: work(n) does n rounds and gives what it did.
template <typename Work>
double best_rate(const Work& work) {
  using Clock = std::chrono::steady_clock;
  int64_t rounds = 1;
  double best = 0;
  for (int turn = 0; turn < kTurns;) {
    throw_if_interrupted();
    const Clock::time_point start = Clock::now();
    const double done = work(rounds);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds < kTurnSeconds / 2) {  // find how many rounds make a turn
      rounds *= 2;
      continue;
    }
    best = std::max(best, done / seconds);
    ++turn;
  }
  return best;
}

/// The largest block that is given, halving from kLargestSet.
Buffer largest_set(MemoryResource& memory) {
  for (size_t bytes = kLargestSet;; bytes /= 2) {
    try {
      return {bytes, memory, "measuring memory"};
    } catch (const OutOfMemory&) {
      if (bytes <= kSmallestSet) throw;
    }
  }
}

}  // namespace

Peaks measure_peaks(const LowerOptions& options) {
  const int threads = options.threads > 0 ? options.threads : omp_get_max_threads();
  const ThreadCount count(threads);
  Peaks peaks;
  constexpr int64_t kSteps = 10000;
  peaks.flops = best_rate([&](int64_t rounds) { return kernels::run_multiply_adds(rounds * kSteps, threads); });
  const Buffer set = largest_set(*options.memory);
  auto* base = static_cast<char*>(set.data());
  std::memset(base, 0, set.bytes());  // every page is there, and no denormal is ever added up
  for (size_t bytes = kSmallestSet; bytes <= set.bytes(); bytes *= 4) {
    Bandwidth b;
    b.set_bytes = bytes;
    b.copy = best_rate([&](int64_t rounds) {
      kernels::copy_memory(base, base + bytes / 2, bytes / 2, rounds, threads);
      return static_cast<double>(rounds) * static_cast<double>(bytes);  // half read, half written
    });
    b.read = best_rate([&](int64_t rounds) {
      kernels::read_memory(reinterpret_cast<const float*>(base), bytes, rounds, threads);
      return static_cast<double>(rounds) * static_cast<double>(bytes);
    });
    peaks.bandwidths.push_back(b);
  }
  return peaks;
}

}  // namespace elek::onednn
