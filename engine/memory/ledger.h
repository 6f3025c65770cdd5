// SPDX-License-Identifier: Apache-2.0
// The ledger: which bytes are whose. Ledger is a resource that tells blocks apart by their labels and keeps what each use held
// when all of them together held most. account() reconciles it with the system's figure: what our pool holds, what of that was
// never touched, the program's and its libraries' pages, and the rest, which sum to the resident bytes by construction; the
// rest being small is what a test looks at. Tests: tests/unit/ledger_test.cpp, tests/cli/memory_test.cpp
#pragma once

#include <array>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "engine/memory/pool.h"
#include "engine/memory/resource.h"

namespace elek {

enum class Use : uint8_t { kModel, kWeights, kActivations, kWorkspace, kStatistics, kStaging, kOther };
inline constexpr size_t kUses = 7;
using UseBytes = std::array<size_t, kUses>;
[[nodiscard]] std::string_view name_of(Use use);  // "model", "weights", …
[[nodiscard]] size_t total(const UseBytes& bytes) noexcept;

class Ledger final : public MemoryResource {
 public:
  struct Figures {
    UseBytes live{};
    UseBytes at_peak{};  // of each use, at the moment when their sum was largest
  };
  explicit Ledger(MemoryResource& upstream) : upstream_(upstream) {}
  /// An arena of this size is about to be allocated; so much of it is activations at the step that needs most, the remainder is
  /// workspace. Without it an arena counts as activations.
  void announce_arena(size_t arena_bytes, size_t activations_bytes);
  [[nodiscard]] Figures figures() const;
  void reset_peak();  // the peak becomes the live bytes of now
  [[nodiscard]] Device device() const noexcept override { return upstream_.device(); }

 private:
  void* do_allocate(size_t bytes, std::string_view label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  struct Entry {
    Use use = Use::kOther;
    size_t bytes = 0;
    size_t workspace_bytes = 0;  // of an arena's
  };
  void book(const Entry& entry, bool in) noexcept;
  MemoryResource& upstream_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, Entry> blocks_;
  Figures figures_;
  size_t peak_bytes_ = 0;
  size_t announced_arena_ = 0, announced_activations_ = 0;
};

/// Where the resident bytes of the process are. uses + pool - untouched + library + rest = resident.
struct Account {
  UseBytes uses{};
  size_t pool_bytes = 0;       // of the pool's segments, in no block: free, or rounding
  size_t untouched_bytes = 0;  // of the pool's segments, never written: the system has given no page yet
  size_t library_bytes = 0;    // pages of the program, its libraries and mapped files
  int64_t rest_bytes = 0;      // heap outside our resources, stacks, what malloc keeps; pages shared at edges make it inexact
  size_t resident_bytes = 0;   // as the system counts; 0 where it does not say
};
/// Of now. Costs a read of /proc/self/status and one system call a segment.
[[nodiscard]] Account account(const Ledger& ledger, const Pool& pool);

}  // namespace elek
