// SPDX-License-Identifier: Apache-2.0
// What the system says this process occupies, beside what our resources count: the ledger and the phase reports show both.
// Linux answers (/proc/self); elsewhere the figures are 0 and reset_peak_resident() says no.
// Tests: tests/unit/process_memory_test.cpp
#pragma once

#include <cstddef>
#include <span>

namespace elek {

struct ProcessMemory {
  size_t resident_bytes = 0;       // physical memory mapped by the process now (VmRSS)
  size_t peak_resident_bytes = 0;  // its largest value since the start or the last reset (VmHWM)
  size_t file_bytes = 0;           // of the resident: program, libraries, mapped files (RssFile and RssShmem)
  size_t address_space_bytes = 0;  // all that is mapped now, touched or not (VmSize): what RLIMIT_AS limits
};
/// Figures of now; 0 where the platform has none. Costs one read of /proc/self/status.
[[nodiscard]] ProcessMemory process_memory();

/// Physical memory of the machine; 0 where the platform does not say.
[[nodiscard]] size_t physical_memory_bytes();

/// How much of this host memory the system holds pages for (mincore), whole pages; 0 where it does not say.
[[nodiscard]] size_t resident_bytes_of(std::span<const std::byte> memory);

/// Makes the resident bytes of now the peak. False where the system cannot (then peaks are those since the start), which a
/// report must say.
[[nodiscard]] bool reset_peak_resident();

}  // namespace elek
