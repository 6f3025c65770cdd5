// SPDX-License-Identifier: Apache-2.0
// MemoryResource: a source of bytes. Policies wrap an upstream (host, pinned, CUDA): Tracker counts, Limit refuses beyond a
// budget, Pool reuses, Ledger says whose the bytes are. Sessions, loaders and pruning get every tensor through one.
// Tests: tests/contract/memory_resource_test.cpp (one suite over every resource)
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/types.h"

namespace elek {

/// The order in which device work happens; null = the host, where allocation is immediate. For CUDA a cudaStream_t.
struct Stream {
  void* handle = nullptr;
};

/// What a block of memory is for. The ledger (ledger.h) sums live bytes by use.
enum class Use : uint8_t {
  kModel,  // parameters, as read
  kWeights,
  kActivations,
  kWorkspace,
  kStatistics,
  kStaging,
  kMoments,  // second moments of a least-squares repair, and its scratch
  kKept,     // activations that a repair keeps between its passes
  kOther
};
[[nodiscard]] std::string_view name_of(Use use);  // "model", "weights", …

/// Says what a block is: its name, for errors, traces and maps, and its use, for accounts. A name alone means Use::kOther.
/// Holds no copy of the name.
struct BlockLabel {
  std::string_view name;
  Use use = Use::kOther;
  BlockLabel(std::string_view block_name, Use block_use = Use::kOther) noexcept  // NOLINT(google-explicit-constructor)
      : name(block_name), use(block_use) {}
  BlockLabel(const char* block_name, Use block_use = Use::kOther) noexcept  // NOLINT(google-explicit-constructor)
      : name(block_name), use(block_use) {}
  BlockLabel(const std::string& block_name, Use block_use = Use::kOther) noexcept  // NOLINT(google-explicit-constructor)
      : name(block_name), use(block_use) {}
};

/// Every block starts on this boundary, so that a plan made for one address is valid for all.
inline constexpr size_t kAlignment = 256;

/// A source of memory. Thread-safe. allocate() throws OutOfMemory and leaves the resource as it was.
class MemoryResource {
 public:
  MemoryResource() = default;
  MemoryResource(const MemoryResource&) = delete;
  MemoryResource& operator=(const MemoryResource&) = delete;
  virtual ~MemoryResource() = default;

  /// At least `bytes` bytes, aligned to kAlignment, uninitialised, usable by work enqueued on `stream` after this call.
  /// Zero bytes give nullptr and count as no allocation. `label` names the block and its use in errors, traces and the ledger.
  [[nodiscard]] void* allocate(size_t bytes, const BlockLabel& label, Stream stream = {});
  /// Gives a block back, with the size it was asked with; nullptr is ignored.
  void deallocate(void* block, size_t bytes, Stream stream = {}) noexcept;
  [[nodiscard]] virtual Device device() const noexcept = 0;
  /// Gives free memory that is kept for later back to its source; returns the bytes. Call it before placing large, long-lived
  /// blocks. Otherwise they may be placed between the remains of earlier work.
  virtual size_t trim() { return 0; }
  /// What the system counts as occupied there: the process's resident bytes on the host, the bytes in use on a device (all
  /// processes together, as its driver says). 0 if the system does not say.
  [[nodiscard]] virtual size_t system_bytes() const noexcept { return 0; }

 private:
  virtual void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) = 0;
  virtual void do_deallocate(void* block, size_t bytes, Stream stream) noexcept = 0;
};

/// Plain host memory. The process-wide instance is host_resource().
class HostResource final : public MemoryResource {
 public:
  [[nodiscard]] Device device() const noexcept override { return {}; }
  [[nodiscard]] size_t system_bytes() const noexcept override;

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
};
[[nodiscard]] MemoryResource& host_resource();

/// A resource over another one, which must outlive it. What it does not change itself it passes on.
class Policy : public MemoryResource {
 public:
  explicit Policy(MemoryResource& upstream) : upstream_(upstream) {}
  [[nodiscard]] Device device() const noexcept final { return upstream_.device(); }
  size_t trim() override { return upstream_.trim(); }
  [[nodiscard]] size_t system_bytes() const noexcept final { return upstream_.system_bytes(); }

 protected:
  MemoryResource& upstream_;
};

/// Counts live bytes, peak and calls.
class Tracker final : public Policy {
 public:
  struct Figures {
    size_t live_bytes = 0;
    size_t peak_bytes = 0;
    int64_t allocations = 0;
    int64_t deallocations = 0;
  };
  struct Event {
    bool allocation = false;
    size_t bytes = 0;
    uint64_t block = 0;
    std::string label;
  };
  using Policy::Policy;
  [[nodiscard]] Figures figures() const;
  void reset_peak();            // sets the peak to the live bytes of now
  void record_events(bool on);  // off by default: events cost memory
  [[nodiscard]] std::vector<Event> events() const;

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  mutable std::mutex mutex_;
  Figures figures_;
  bool recording_ = false;
  std::vector<Event> events_;
};

/// Refuses a request that would take the live bytes beyond `limit_bytes` (MB = 10^6 on the command line).
class Limit final : public Policy {
 public:
  Limit(MemoryResource& upstream, size_t limit_bytes) : Policy(upstream), limit_bytes_(limit_bytes) {}
  [[nodiscard]] size_t limit_bytes() const noexcept { return limit_bytes_; }
  [[nodiscard]] size_t live_bytes() const;

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  const size_t limit_bytes_;
  mutable std::mutex mutex_;
  size_t live_bytes_ = 0;
  size_t peak_bytes_ = 0;
};

}  // namespace elek
