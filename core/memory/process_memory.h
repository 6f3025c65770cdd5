// SPDX-License-Identifier: Apache-2.0
// The memory of this process as the system counts it. The ledger and the reports of phases show it next to the counts of our
// resources. Works on Linux (/proc/self); elsewhere the figures are 0. It resets no counter of the system, because other
// programs (time, wait4) read them too.
// Tests: tests/unit/process_memory_test.cpp
#pragma once

#include <cstddef>
#include <span>

namespace elek {

struct ProcessMemory {
  size_t resident_bytes = 0;       // physical memory that the process has mapped now (VmRSS)
  size_t peak_resident_bytes = 0;  // largest value since the process started (VmHWM; ru_maxrss of wait4)
  size_t file_bytes = 0;           // resident pages of the program, libraries and mapped files (RssFile, RssShmem)
  size_t address_space_bytes = 0;  // everything that is mapped now, used or not (VmSize); RLIMIT_AS limits it
};
/// The current figures; 0 if the platform has none. Reads /proc/self/status.
[[nodiscard]] ProcessMemory process_memory();

/// Only VmRSS, from /proc/self/statm: a few microseconds, no heap allocation.
[[nodiscard]] size_t resident_bytes() noexcept;

/// Physical memory of the machine; 0 if the platform does not report it.
[[nodiscard]] size_t physical_memory_bytes();

/// Bytes of this host memory for which the system holds pages (mincore), in whole pages; 0 if the system does not report it.
[[nodiscard]] size_t resident_bytes_of(std::span<const std::byte> memory);

/// The largest resident size of the process in one phase, which begins when this object is made. The system keeps only one
/// high-water mark, since the process started. We never reset it, because other programs (time, wait4) read it too.
class ResidentPeak {
 public:
  struct Figure {
    size_t bytes = 0;
    bool exact = false;
  };
  /// Exact if the high-water mark rose in this phase. Otherwise the process was as large before, and the result is the largest
  /// of three readings: at the beginning, now, and `seen_bytes`, which the caller read in between (Ledger::Peak: at the peak of
  /// our own bytes). This result may miss memory outside our resources that was used only for a short time; it is never too
  /// large. The peak of the whole process is still exact, because it was in another phase.
  [[nodiscard]] Figure figure(size_t seen_bytes) const;

 private:
  ProcessMemory begin_ = process_memory();
};

}  // namespace elek
