// SPDX-License-Identifier: Apache-2.0
// Process-wide services: warnings (printed to standard error and counted) and the interrupt flag that long loops check. Also a
// random number generator that gives the same numbers on every platform, and a content hash.
// Tests: tests/unit/base_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace elek {

/// Writes "elek: warning: …" to standard error and counts it. Thread-safe.
void warn(const std::string& message);
[[nodiscard]] int64_t warnings_so_far() noexcept;

/// Sets the interrupt flag; async-signal-safe, so a SIGINT handler may call it.
void request_interrupt() noexcept;
void clear_interrupt() noexcept;
/// Throws Interrupted once the flag is set. Cheap: one relaxed atomic load.
void throw_if_interrupted();

/// xoshiro256** seeded through splitmix64 (Blackman & Vigna 2018): the same numbers for the same seed everywhere.
class Random {
 public:
  explicit Random(uint64_t seed) noexcept;
  [[nodiscard]] uint64_t next() noexcept;
  [[nodiscard]] double uniform() noexcept;                    // [0, 1), 53 bits
  [[nodiscard]] double normal() noexcept;                     // mean 0, variance 1 (Box-Muller, one value per call)
  [[nodiscard]] uint64_t below(uint64_t bound) noexcept;      // [0, bound), unbiased
  [[nodiscard]] std::vector<int64_t> permutation(int64_t n);  // Fisher-Yates

 private:
  uint64_t state_[4];
};

/// FNV-1a, 64 bits. Identifies contents (models, images); does not protect against deliberate collisions. To hash several
/// blocks, pass the last result as `seed`.
inline constexpr uint64_t kHashSeed = 0xcbf29ce484222325ULL;
[[nodiscard]] uint64_t hash_bytes(const void* data, size_t bytes, uint64_t seed = kHashSeed) noexcept;
[[nodiscard]] std::string to_hex(uint64_t value);

}  // namespace elek
