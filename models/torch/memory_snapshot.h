// SPDX-License-Identifier: Apache-2.0
// snapshot.pickle of PyTorch's memory recorder (torch.cuda.memory._dump_snapshot): what a program asked of the caching
// allocator. The pickle is read as values (models/pickle.h), so nothing in it is run. Tests:
// tests/models/memory_snapshot_test.cpp
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace elek {

struct MemorySnapshot {
  struct Event {
    bool allocation = false;
    uint64_t address = 0;
    size_t bytes = 0;
    std::string label;  // the innermost Python frame: "function (file.py:12)"; else "block N"
  };
  std::vector<Event> events;  // of one device, in order
  int64_t device = 0;
  int64_t out_of_memory = 0;  // requests that failed
};

/// The events of the first device that has some. Without recorded events: the blocks that were in use when it was written.
/// Errors    InputError: no pickle, another structure, neither events nor blocks
[[nodiscard]] MemorySnapshot read_memory_snapshot(const std::string& path);

}  // namespace elek
