// SPDX-License-Identifier: Apache-2.0
// The ledger: an account of what memory is used for. Ledger is a memory resource that records the use of each block
// (BlockLabel). It remembers the bytes of each use at the peak, that is, when all uses together had most bytes, and the
// system's figure for the same moment. account() compares the uses with the system's current figure. On the host it also lists
// unused bytes of the pool, pool memory that was never written, the pages of the program and its libraries, and the rest. On a
// device it also lists the bytes that were in use before ours, and the rest. The parts always add up to the system's figure; a
// test checks that the rest is small. No part is ever negative: memory that is reserved but was never written has no pages, so
// it is not counted as held. Tests: tests/unit/ledger_test.cpp, tests/cli/memory_test.cpp
#pragma once

#include <array>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "elek/memory.h"

namespace elek {

inline constexpr size_t kUses = static_cast<size_t>(Use::kOther) + 1;
using UseBytes = std::array<size_t, kUses>;
[[nodiscard]] size_t total(const UseBytes& bytes) noexcept;

class Ledger final : public Policy {
 public:
  /// The moment when all uses together had most bytes. The system's figure is read just before the first release after a new
  /// peak: by then the blocks have been written, and uses and system_bytes describe the same moment. If nothing was released
  /// since the peak, that moment is now.
  struct Peak {
    UseBytes uses{};
    UseBytes untouched{};     // of the uses, never written until then, so without pages. Host only
    size_t system_bytes = 0;  // MemoryResource::system_bytes() of the upstream
    /// The system's figure minus the written bytes of the uses: libraries, the pool's free bytes, heap, stacks.
    [[nodiscard]] size_t library_and_rest_bytes() const noexcept;
  };
  /// Remembers the bytes in use on the device now, before we allocate anything; account() needs them.
  explicit Ledger(MemoryResource& upstream) : Policy(upstream), system_bytes_before_(upstream.system_bytes()) {}
  /// Call before an arena of this size is allocated. `activations_bytes` of it hold activations at the step that needs most;
  /// the rest is workspace. Without this call the whole arena counts as activations.
  void announce_arena(size_t arena_bytes, size_t activations_bytes);
  [[nodiscard]] UseBytes live() const;
  /// Of live(), the bytes that were never written (host only). One or more system calls for each block of 64 KiB or more.
  [[nodiscard]] UseBytes untouched() const;
  /// Reads the system's figure (microseconds) if nothing was released since the peak.
  [[nodiscard]] Peak peak() const;
  void reset_peak();  // sets the peak to the bytes in use now
  [[nodiscard]] size_t system_bytes_before() const noexcept { return system_bytes_before_; }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  struct Entry {
    Use use = Use::kOther;
    size_t bytes = 0;
    size_t workspace_bytes = 0;  // part of an arena that is workspace
  };
  void book(const Entry& entry, bool in) noexcept;
  [[nodiscard]] UseBytes untouched_now() const noexcept;  // needs the lock
  void look(Peak& peak) const noexcept;                   // reads the system's figures into the peak; needs the lock
  const size_t system_bytes_before_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, Entry> blocks_;
  UseBytes live_{};
  Peak peak_;
  size_t peak_bytes_ = 0;
  bool at_peak_ = true;  // nothing was released since the peak
  size_t announced_arena_ = 0, announced_activations_ = 0;
};

/// What the bytes that the system counts are used for: uses + pool - untouched + library + rest = system. No part is negative.
struct Account {
  UseBytes uses{};
  UseBytes uses_untouched{};   // part of untouched_bytes that lies in the uses' blocks
  size_t pool_bytes = 0;       // in the pool's segments, but in no block: free, or rounding
  size_t untouched_bytes = 0;  // in the pool's segments, but never written, so without pages. Host only
  size_t library_bytes = 0;    // host: pages of the program, libraries and mapped files; device: in use before ours, less
                               // what other programs have freed since
  size_t rest_bytes = 0;       // host: heap outside our resources, stacks, memory that malloc keeps; inexact, because blocks
                               // share pages at their edges. Device: kernels and handles loaded since, and memory that other
                               // programs have allocated since
  size_t system_bytes = 0;  // the process's resident bytes, or those in use on the device; 0 if the system does not report it
  /// Written bytes of the pool's segments that lie in no block.
  [[nodiscard]] size_t pool_written_bytes() const noexcept;
};
/// The current account. On the host it reads /proc/self/status and makes one system call per segment; on a device it makes one
/// call to the driver.
[[nodiscard]] Account account(const Ledger& ledger, const Pool& pool);

}  // namespace elek
