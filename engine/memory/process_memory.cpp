// SPDX-License-Identifier: Apache-2.0
// Reads VmRSS and VmHWM (proc(5)), and resets the latter by writing 5 to clear_refs. Tests: tests/unit/process_memory_test.cpp
#include "engine/memory/process_memory.h"

#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>

namespace elek {

ProcessMemory process_memory() {
  ProcessMemory found;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string key;
    uint64_t kib = 0;
    if (words >> key >> kib) {  // "VmRSS:     1234 kB", always in KiB
      if (key == "VmRSS:") {
        found.resident_bytes = static_cast<size_t>(kib) * 1024;
      } else if (key == "VmHWM:") {
        found.peak_resident_bytes = static_cast<size_t>(kib) * 1024;
      }
    }
  }
  return found;
}

size_t physical_memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page_bytes) : 0;
}

bool reset_peak_resident() {
  constexpr size_t kSlack = size_t{4} << 20;  // pages that come and go between the reset and the look
  {
    std::ofstream clear("/proc/self/clear_refs");
    clear << "5" << std::flush;
    if (!clear) {
      return false;
    }
  }
  // Some sandboxes take the write and do nothing: believe the figures only.
  const ProcessMemory after = process_memory();
  return after.resident_bytes > 0 && after.peak_resident_bytes <= after.resident_bytes + kSlack;
}

}  // namespace elek
