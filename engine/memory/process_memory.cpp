// SPDX-License-Identifier: Apache-2.0
// Reads /proc/self/status (proc(5)), and resets VmHWM by writing 5 to clear_refs. Tests: tests/unit/process_memory_test.cpp
#include "engine/memory/process_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
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
      } else if (key == "VmSize:") {
        found.address_space_bytes = static_cast<size_t>(kib) * 1024;
      } else if (key == "RssFile:" || key == "RssShmem:") {
        found.file_bytes += static_cast<size_t>(kib) * 1024;
      }
    }
  }
  return found;
}

size_t physical_memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page_bytes) : 0;
}

size_t resident_bytes_of(std::span<const std::byte> memory) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(memory.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(memory.data()) + memory.size();
  constexpr size_t kPages = 4096;  // asked at once
  std::array<unsigned char, kPages> there{};
  size_t resident = 0;
  for (uintptr_t at = begin; at < end; at += kPages * page) {
    const size_t pages = std::min<size_t>(kPages, (end - at + page - 1) / page);
    void* const address = reinterpret_cast<void*>(at);  // NOLINT(performance-no-int-to-ptr): page arithmetic
    if (mincore(address, pages * page, there.data()) != 0) return 0;
    resident += static_cast<size_t>(std::count_if(there.begin(), there.begin() + static_cast<std::ptrdiff_t>(pages),
                                                  [](unsigned char p) { return (p & 1U) != 0; }));
  }
  return resident * page;
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
