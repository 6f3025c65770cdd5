// SPDX-License-Identifier: Apache-2.0
// See runtime.h. The counter of warnings and the interrupt flag are the only mutable globals of this folder. Both are lock-free
// atomics.
// Tests: tests/unit/base_test.cpp
#include "core/runtime.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstdio>
#include <numbers>
#include <numeric>

#include "core/error.h"

namespace elek {
namespace {

std::atomic<int64_t> warning_count{0};
std::atomic<bool> interrupt_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

uint64_t splitmix64(uint64_t& state) noexcept {
  state += 0x9e3779b97f4a7c15ULL;
  uint64_t z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

void warn(const std::string& message) {
  warning_count.fetch_add(1, std::memory_order_relaxed);
  const std::string line = "elek: warning: " + message + "\n";
  std::fwrite(line.data(), 1, line.size(), stderr);  // one call, so that lines of two threads do not mix
}

int64_t warnings_so_far() noexcept { return warning_count.load(std::memory_order_relaxed); }

void request_interrupt() noexcept { interrupt_requested.store(true, std::memory_order_relaxed); }
void clear_interrupt() noexcept { interrupt_requested.store(false, std::memory_order_relaxed); }

void throw_if_interrupted() {
  if (interrupt_requested.load(std::memory_order_relaxed)) {
    throw Interrupted();
  }
}

Random::Random(uint64_t seed) noexcept {
  for (uint64_t& word : state_) {
    word = splitmix64(seed);
  }
}

uint64_t Random::next() noexcept {
  const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

double Random::uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

double Random::normal() noexcept {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));  // 1 - u is in (0, 1]: the logarithm is finite
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

uint64_t Random::below(uint64_t bound) noexcept {
  if (bound < 2) {
    return 0;
  }
  const uint64_t uneven = (0 - bound) % bound;  // 2^64 mod bound: numbers below this are drawn again
  uint64_t drawn = next();
  while (drawn < uneven) {
    drawn = next();
  }
  return drawn % bound;
}

std::vector<int64_t> Random::permutation(int64_t n) {
  ELEK_CHECK(n >= 0, "a permutation of " + std::to_string(n) + " elements, expected at least 0");
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  for (size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[below(i)]);
  }
  return order;
}

uint64_t hash_bytes(const void* data, size_t bytes, uint64_t seed) noexcept {
  const auto* byte = static_cast<const unsigned char*>(data);
  uint64_t hash = seed;
  for (size_t i = 0; i < bytes; ++i) {
    hash = (hash ^ byte[i]) * 0x100000001b3ULL;
  }
  return hash;
}

std::string to_hex(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = text.size(); i > 0; --i, value >>= 4) {
    text[i - 1] = "0123456789abcdef"[value & 15];
  }
  return text;
}

}  // namespace elek
