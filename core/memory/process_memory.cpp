// SPDX-License-Identifier: Apache-2.0
// Reads /proc/self/status and statm (proc(5)). Tests: tests/unit/process_memory_test.cpp
#include "core/memory/process_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
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

size_t resident_bytes() noexcept {
  const int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  std::array<char, 128> text{};  // "size resident shared …", in pages
  const ssize_t got = read(file, text.data(), text.size());
  (void)close(file);
  const char* const begin = text.data();
  const char* const end = begin + std::max<ssize_t>(got, 0);
  const char* at = std::find(begin, end, ' ');
  size_t pages = 0;
  if (at == end || std::from_chars(at + 1, end, pages).ec != std::errc()) return 0;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

size_t physical_memory_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES), page_bytes = sysconf(_SC_PAGESIZE);
  return pages > 0 && page_bytes > 0 ? static_cast<size_t>(pages) * static_cast<size_t>(page_bytes) : 0;
}

size_t resident_bytes_of(std::span<const std::byte> memory) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uintptr_t>(memory.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(memory.data()) + memory.size();
  constexpr size_t kPages = 4096;  // per call
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

ResidentPeak::Figure ResidentPeak::figure(size_t seen_bytes) const {
  const ProcessMemory now = process_memory();
  if (now.peak_resident_bytes > begin_.peak_resident_bytes) return {now.peak_resident_bytes, true};
  return {std::max({begin_.resident_bytes, seen_bytes, now.resident_bytes}), false};
}

}  // namespace elek
