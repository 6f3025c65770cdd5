// SPDX-License-Identifier: Apache-2.0
// Phantom: gives out addresses without memory, one range after the other. Nobody may read or write there. It shows what a pool
// or a limit would do (replays, the largest batch) without holding the bytes.
// Tests: tests/contract/pool_test.cpp
#pragma once

#include "elek/memory.h"

namespace elek {

/// Not thread-safe: put a Pool or a Limit above it.
class Phantom final : public MemoryResource {
 public:
  [[nodiscard]] Device device() const noexcept override { return {}; }
  /// Offset of a block (or of what a pool cut from one) from the first address ever given out.
  [[nodiscard]] static size_t offset_of(const void* block) noexcept { return reinterpret_cast<uintptr_t>(block) - kBase; }

 private:
  static constexpr uintptr_t kBase = uintptr_t{1} << 32;
  void* do_allocate(size_t bytes, const BlockLabel& /*label*/, Stream /*stream*/) override {
    const uintptr_t at = kBase + end_;
    end_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<void*>(at);  // NOLINT(performance-no-int-to-ptr): an address to compute with, not to use
  }
  void do_deallocate(void* /*block*/, size_t /*bytes*/, Stream /*stream*/) noexcept override {}
  size_t end_ = 0;
};

}  // namespace elek
