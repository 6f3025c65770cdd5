// SPDX-License-Identifier: Apache-2.0
// What the system says this process occupies, beside what our resources count: the ledger and the phase reports show both.
// Linux answers (/proc/self); elsewhere the figures are 0. Nothing here changes what others read of this process (time, wait4).
// Tests: tests/unit/process_memory_test.cpp
#pragma once

#include <cstddef>
#include <span>

namespace elek {

struct ProcessMemory {
  size_t resident_bytes = 0;       // physical memory mapped by the process now (VmRSS)
  size_t peak_resident_bytes = 0;  // its largest value since the start (VmHWM), as wait4's ru_maxrss
  size_t file_bytes = 0;           // of the resident: program, libraries, mapped files (RssFile and RssShmem)
  size_t address_space_bytes = 0;  // all that is mapped now, touched or not (VmSize): what RLIMIT_AS limits
};
/// Figures of now; 0 where the platform has none. Costs one read of /proc/self/status.
[[nodiscard]] ProcessMemory process_memory();

/// VmRSS alone, from /proc/self/statm: some microseconds, no heap.
[[nodiscard]] size_t resident_bytes() noexcept;

/// Physical memory of the machine; 0 where the platform does not say.
[[nodiscard]] size_t physical_memory_bytes();

/// How much of this host memory the system holds pages for (mincore), whole pages; 0 where it does not say.
[[nodiscard]] size_t resident_bytes_of(std::span<const std::byte> memory);

/// The process's largest resident size in a stretch of its life, which begins when this is made. The system keeps one
/// high-water mark, since the start, and it is left alone: whoever watches the process from outside reads it too.
class ResidentPeak {
 public:
  struct Figure {
    size_t bytes = 0;
    bool exact = false;
  };
  /// Exact where the high-water mark rose meanwhile: it is the stretch's then. Otherwise the process was as large before, and
  /// the answer is the largest of three readings: at the stretch's begin, now, and `seen_bytes`, which the caller took between
  /// (Ledger::Peak: when our own bytes were most). It may be too small then, by what came and went outside of our resources; it
  /// is never too large. Where VmHWM did not rise, the process's peak lies elsewhere, so no report of the whole is wrong.
  [[nodiscard]] Figure figure(size_t seen_bytes) const;

 private:
  ProcessMemory begin_ = process_memory();
};

}  // namespace elek
