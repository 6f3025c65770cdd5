// SPDX-License-Identifier: Apache-2.0
// The names of the files that are mapped now, by address. If somebody truncates a mapped file, the next read of a lost page is
// a signal (SIGBUS), and its handler wants to say which file it was. So looking up a name takes no lock and no memory. Must not
// open, map or read files. Tests: tests/models/safetensors_test.cpp, tests/cli/signals_test.cpp
#pragma once

#include <cstddef>

namespace elek {

/// Notes that `bytes` bytes from `begin` on are a file's, while this object lives. `name` must live as long. A table has 64
/// places; more files are mapped without a name.
class MappedName {
 public:
  MappedName(const void* begin, size_t bytes, const char* name) noexcept;
  MappedName(const MappedName&) = delete;
  MappedName& operator=(const MappedName&) = delete;
  ~MappedName();

 private:
  int place_ = -1;
};

/// The name of the file at this address; null if none is known. May be called from a signal handler.
[[nodiscard]] const char* mapped_name_at(const void* address) noexcept;

}  // namespace elek
