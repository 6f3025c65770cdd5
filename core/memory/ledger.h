// SPDX-License-Identifier: Apache-2.0
// The ledger: an account of whose bytes they are. Ledger is a memory resource that knows the use of each block (BlockLabel). It
// keeps what each use held at the moment when all uses together held most, with the system's own figure of that moment.
// account() compares the uses with the system's figure of now. On the host it adds what the pool holds, what of that was never
// written, the pages of the program and its libraries, and the rest. On a device it adds what was in use before us, and the
// rest. The parts always sum to the system's figure; a test checks that the rest is small.
// Tests: tests/unit/ledger_test.cpp, tests/cli/memory_test.cpp
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
  /// The moment when all uses together held most. The system's figure is read just before the first release after a new peak:
  /// by then the blocks have been written, and uses and system_bytes belong to one moment. If nothing has been given back since
  /// the peak, that moment is now.
  struct Peak {
    UseBytes uses{};
    size_t system_bytes = 0;  // MemoryResource::system_bytes() of the upstream
  };
  /// Remembers what is in use on a device now, before anything of ours, for its account.
  explicit Ledger(MemoryResource& upstream) : Policy(upstream), system_bytes_before_(upstream.system_bytes()) {}
  /// Call before an arena of this size is allocated. `activations_bytes` of it are activations at the step that needs most; the
  /// rest is workspace. Without this call an arena counts as activations.
  void announce_arena(size_t arena_bytes, size_t activations_bytes);
  [[nodiscard]] UseBytes live() const;
  /// Costs one read of the system's figure (microseconds) if nothing has been given back since the peak.
  [[nodiscard]] Peak peak() const;
  void reset_peak();  // the peak becomes the live bytes of now
  [[nodiscard]] size_t system_bytes_before() const noexcept { return system_bytes_before_; }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  struct Entry {
    Use use = Use::kOther;
    size_t bytes = 0;
    size_t workspace_bytes = 0;  // of the arena
  };
  void book(const Entry& entry, bool in) noexcept;
  const size_t system_bytes_before_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, Entry> blocks_;
  UseBytes live_{};
  Peak peak_;
  size_t peak_bytes_ = 0;
  bool at_peak_ = true;  // nothing has been given back since the peak
  size_t announced_arena_ = 0, announced_activations_ = 0;
};

/// Where the bytes are that the system counts: uses + pool - untouched + library + rest = system.
struct Account {
  UseBytes uses{};
  size_t pool_bytes = 0;       // in the pool's segments, but in no block: free, or rounding
  size_t untouched_bytes = 0;  // in the pool's segments, never written, so without a page. Host only
  size_t library_bytes = 0;    // host: pages of the program, its libraries and mapped files; device: in use there before us
  int64_t rest_bytes = 0;      // host: heap outside our resources, stacks, what malloc keeps; pages shared at edges make it
                               // inexact. Device: kernels and handles loaded since, and what others there took or gave back
  size_t system_bytes = 0;     // the process's resident bytes, or those in use on the device; 0 where the system does not say
};
/// The account of now. Costs a read of /proc/self/status and one system call per segment; on a device one question to the
/// driver.
[[nodiscard]] Account account(const Ledger& ledger, const Pool& pool);

}  // namespace elek
