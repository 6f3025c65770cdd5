// SPDX-License-Identifier: Apache-2.0
// The loops of peaks.h, compiled once per instruction set (Google Highway). Tests: tests/kernels/peaks_test.cpp
#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/peaks.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include <atomic>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "kernels/cpu/detail/parallel.h"
#include "kernels/cpu/peaks.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Latency (4 or 5 cycles) times multiply-adds per cycle (2) is ten: ten chains keep the units busy, and twelve leave a margin.
// Twelve chains and the constant fit in sixteen registers.
constexpr int kChains = 12;

/// Chain i starts at kept[i], a value that the compiler does not know, so it cannot merge chains. Each chain converges to 1, so
/// there are no denormals or infinities. Leaves their sum in kept[0] and returns the number of operations.
double multiply_adds(int64_t steps, float* kept) {
  const hn::ScalableTag<float> d;
  const auto half = hn::Set(d, 0.5F);
  auto a0 = hn::Set(d, kept[0]), a1 = hn::Set(d, kept[1]), a2 = hn::Set(d, kept[2]), a3 = hn::Set(d, kept[3]);
  auto a4 = hn::Set(d, kept[4]), a5 = hn::Set(d, kept[5]), a6 = hn::Set(d, kept[6]), a7 = hn::Set(d, kept[7]);
  auto a8 = hn::Set(d, kept[8]), a9 = hn::Set(d, kept[9]), a10 = hn::Set(d, kept[10]), a11 = hn::Set(d, kept[11]);
  for (int64_t i = 0; i < steps; ++i) {
    a0 = hn::MulAdd(a0, half, half);
    a1 = hn::MulAdd(a1, half, half);
    a2 = hn::MulAdd(a2, half, half);
    a3 = hn::MulAdd(a3, half, half);
    a4 = hn::MulAdd(a4, half, half);
    a5 = hn::MulAdd(a5, half, half);
    a6 = hn::MulAdd(a6, half, half);
    a7 = hn::MulAdd(a7, half, half);
    a8 = hn::MulAdd(a8, half, half);
    a9 = hn::MulAdd(a9, half, half);
    a10 = hn::MulAdd(a10, half, half);
    a11 = hn::MulAdd(a11, half, half);
  }
  const auto low = hn::Add(hn::Add(hn::Add(a0, a1), hn::Add(a2, a3)), hn::Add(a4, a5));
  const auto high = hn::Add(hn::Add(hn::Add(a6, a7), hn::Add(a8, a9)), hn::Add(a10, a11));
  kept[0] = hn::GetLane(hn::Add(low, high));
  return 2.0 * kChains * static_cast<double>(hn::Lanes(d)) * static_cast<double>(steps);
}

/// Uses four sums, so that loads do not wait for additions. Returns the total, so that the compiler cannot remove the loop.
float read_all(const float* HWY_RESTRICT from, int64_t floats) {
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto a = hn::Zero(d), b = a, c = a, e = a;
  int64_t i = 0;
  for (; i + 4 * lanes <= floats; i += 4 * lanes) {
    a = hn::Add(a, hn::LoadU(d, from + i));
    b = hn::Add(b, hn::LoadU(d, from + i + lanes));
    c = hn::Add(c, hn::LoadU(d, from + i + 2 * lanes));
    e = hn::Add(e, hn::LoadU(d, from + i + 3 * lanes));
  }
  for (; i + lanes <= floats; i += lanes) a = hn::Add(a, hn::LoadU(d, from + i));
  return hn::GetLane(hn::Add(hn::Add(a, b), hn::Add(c, e)));
}

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {
HWY_EXPORT(multiply_adds);
HWY_EXPORT(read_all);

namespace {

/// Stores a number where the compiler must assume that it is read.
void use(float value) {
  static std::atomic<float> kept{0};
  kept.store(value, std::memory_order_relaxed);
}

/// Where a part begins, in bytes: parts are whole cache lines.
int64_t byte_of(size_t bytes, int parts, int part) { return part_begin(static_cast<int64_t>(bytes), parts, part, 64); }

}  // namespace

double run_multiply_adds(int64_t steps, int threads) {
  ELEK_CHECK(steps >= 1 && threads >= 1, "steps and threads must be positive");
  std::vector<double> done(static_cast<size_t>(threads));
  for_parts(threads, [&](int part) {
    alignas(64) float kept[16];
    for (int i = 0; i < 16; ++i) kept[i] = static_cast<float>(part + i) / 64;
    done[static_cast<size_t>(part)] = HWY_DYNAMIC_DISPATCH(multiply_adds)(steps, kept);
    if (!(kept[0] > 0)) use(kept[0]);
  });
  double total = 0;
  for (const double operations : done) total += operations;
  return total;
}

void copy_memory(const void* src, void* dst, size_t bytes, int64_t rounds, int threads) {
  for_parts(threads, [&](int part) {
    const int64_t begin = byte_of(bytes, threads, part), end = byte_of(bytes, threads, part + 1);
    for (int64_t i = 0; i < rounds; ++i) {
      std::memcpy(static_cast<char*>(dst) + begin, static_cast<const char*>(src) + begin, static_cast<size_t>(end - begin));
    }
  });
}

void read_memory(const float* src, size_t bytes, int64_t rounds, int threads) {
  for_parts(threads, [&](int part) {
    const int64_t begin = byte_of(bytes, threads, part), end = byte_of(bytes, threads, part + 1);
    float total = 0;
    for (int64_t i = 0; i < rounds; ++i) total += HWY_DYNAMIC_DISPATCH(read_all)(src + begin / 4, (end - begin) / 4);
    if (!(total >= 0)) use(total);
  });
}

int64_t pass_line(int64_t rounds) {
  struct alignas(128) Line {  // two cache lines: a prefetcher that also loads the neighbouring line must not touch other data
    std::atomic<int64_t> passed{0};
  } line;
  const bool together = for_each_thread(2, [&](int thread) {
    for (int64_t i = thread; i < 2 * rounds; i += 2) {
      while (line.passed.load(std::memory_order_acquire) != i) {
      }
      line.passed.store(i + 1, std::memory_order_release);
    }
  });
  return together ? line.passed.load() : 0;
}

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
