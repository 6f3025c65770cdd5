// SPDX-License-Identifier: Apache-2.0
// What the system says this process occupies. The ledger and the phase reports show it beside what our resources count. Works
// on Linux (/proc/self); elsewhere the figures are 0. It changes nothing that others read about this process (time, wait4).
// Tests: tests/unit/process_memory_test.cpp
#pragma once

#include <cstddef>
#include <span>

namespace elek {

struct ProcessMemory {
  size_t resident_bytes = 0;       // physical memory mapped by the process now (VmRSS)
  size_t peak_resident_bytes = 0;  // its largest value since the start (VmHWM), as wait4's ru_maxrss
  size_t file_bytes = 0;           // resident pages of the program, libraries and mapped files (RssFile, RssShmem)
  size_t address_space_bytes = 0;  // all that is mapped now, touched or not (VmSize): what RLIMIT_AS limits
};
/// The figures of now; 0 where the platform has none. Costs one read of /proc/self/status.
[[nodiscard]] ProcessMemory process_memory();

/// VmRSS alone, from /proc/self/statm: some microseconds, no heap allocation.
[[nodiscard]] size_t resident_bytes() noexcept;

/// Physical memory of the machine; 0 where the platform does not say.
[[nodiscard]] size_t physical_memory_bytes();

/// Bytes of this host memory for which the system holds pages (mincore), in whole pages; 0 where the system does not say.
[[nodiscard]] size_t resident_bytes_of(std::span<const std::byte> memory);

/// The process's largest resident size in one phase, which begins when this object is made. The system keeps one high-water
/// mark since the start. It is never reset, because others (time, wait4) read it too.
class ResidentPeak {
 public:
  struct Figure {
    size_t bytes = 0;
    bool exact = false;
  };
  /// Exact if the high-water mark rose in the phase. Otherwise the process was as large before, and the result is the largest
  /// of three readings: at the beginning, now, and `seen_bytes`, which the caller took in between (Ledger::Peak: when our own
  /// bytes were most). It may then miss memory outside our resources that came and went; it is never too large. The peak of the
  /// whole process is exact in any case, because it lies elsewhere.
  [[nodiscard]] Figure figure(size_t seen_bytes) const;

 private:
  ProcessMemory begin_ = process_memory();
};

}  // namespace elek
