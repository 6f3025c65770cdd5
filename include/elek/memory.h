// SPDX-License-Identifier: Apache-2.0
// Memory: sources of bytes, and owners of bytes. A MemoryResource is an upstream (host, page-locked host, a GPU) or a policy
// over one: Tracker counts, Limit refuses requests beyond a budget, Pool reuses blocks. Sessions, models and pruning allocate
// every tensor from the resource that they are given. A program can write its own: a class with two functions
// (examples/allocator.cpp). Buffer owns bytes. Tensor is a buffer with a shape and an element type. Both can be moved but not
// copied; use clone() for a copy.
// docs/memory.md explains the pool. Tests: tests/contract, tests/unit/tensor_test.cpp
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elek/export.h"
#include "elek/types.h"

namespace elek {

/// Device work in one stream runs in order. Null = the host, where an allocation is ready at once. For CUDA a cudaStream_t.
struct Stream {
  void* handle = nullptr;
};

/// What a block of memory is for. The ledger (core/memory/ledger.h) sums live bytes by use.
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
[[nodiscard]] ELEK_API std::string_view name_of(Use use);  // "model", "weights", …

/// Describes a block: its name, for errors, traces and maps, and its use, for the ledger. A name alone means Use::kOther. The
/// name is not copied.
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

/// Every block starts at a multiple of this, so the offsets of a plan are valid at any address.
inline constexpr size_t kAlignment = 256;

/// A source of memory. Thread-safe. If allocate() throws OutOfMemory, the resource is unchanged.
class ELEK_API MemoryResource {
 public:
  MemoryResource() = default;
  MemoryResource(const MemoryResource&) = delete;
  MemoryResource& operator=(const MemoryResource&) = delete;
  virtual ~MemoryResource() = default;

  /// Returns at least `bytes` bytes, aligned to kAlignment, uninitialised. Work enqueued on `stream` after this call may use
  /// them. Zero bytes give nullptr and count as no allocation. `label` names the block and its use in errors, traces and the
  /// ledger.
  [[nodiscard]] void* allocate(size_t bytes, const BlockLabel& label, Stream stream = {});
  /// Gives a block back; `bytes` is the size that was asked for. nullptr is ignored.
  void deallocate(void* block, size_t bytes, Stream stream = {}) noexcept;
  [[nodiscard]] virtual Device device() const noexcept = 0;
  /// Gives cached free memory back to its source, and returns its bytes. Call it before large, long-lived allocations:
  /// otherwise they may be placed between the remains of earlier work.
  virtual size_t trim() { return 0; }
  /// Bytes that the system counts as in use: on the host the resident bytes of the process, on a device the bytes of all
  /// processes together, as its driver reports. 0 if the system does not report it.
  [[nodiscard]] virtual size_t system_bytes() const noexcept { return 0; }

 private:
  virtual void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) = 0;
  virtual void do_deallocate(void* block, size_t bytes, Stream stream) noexcept = 0;
};

/// Plain host memory. The process-wide instance is host_resource().
class ELEK_API HostResource final : public MemoryResource {
 public:
  [[nodiscard]] Device device() const noexcept override { return {}; }
  [[nodiscard]] size_t system_bytes() const noexcept override;

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
};
[[nodiscard]] ELEK_API MemoryResource& host_resource();

/// A resource over another one, which must outlive it. Passes on what it does not change.
class ELEK_API Policy : public MemoryResource {
 public:
  explicit Policy(MemoryResource& upstream) : upstream_(upstream) {}
  [[nodiscard]] Device device() const noexcept final { return upstream_.device(); }
  size_t trim() override { return upstream_.trim(); }
  [[nodiscard]] size_t system_bytes() const noexcept final { return upstream_.system_bytes(); }

 protected:
  MemoryResource& upstream_;
};

/// Counts live bytes, peak and calls.
class ELEK_API Tracker final : public Policy {
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
  void reset_peak();            // sets the peak to the current live bytes
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

/// Refuses a request that would raise the live bytes above `limit_bytes` (on the command line MB = 10^6).
class ELEK_API Limit final : public Policy {
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

/// Tells when work on streams is done. A mark is a point in the work of one stream. A later mark is larger. The marks of one
/// stream pass in the order in which they were made. Thread-safe.
class ELEK_API StreamOrder {
 public:
  using Mark = uint64_t;
  static constexpr Mark kPassed = 0;  // nothing to wait for
  StreamOrder() = default;
  StreamOrder(const StreamOrder&) = delete;
  StreamOrder& operator=(const StreamOrder&) = delete;
  virtual ~StreamOrder() = default;
  /// A mark after all work enqueued on `stream` so far, or kPassed if all of it is done. If no mark can be made, waits for the
  /// stream and returns kPassed.
  [[nodiscard]] virtual Mark mark(Stream stream) noexcept = 0;
  [[nodiscard]] virtual bool passed(Mark mark) noexcept = 0;
  /// Blocks the host until the mark has passed.
  virtual void wait(Mark mark) noexcept = 0;
  /// The caller will not ask for this mark again.
  virtual void forget(Mark mark) noexcept = 0;
};

/// The host's order: work is done when the call returns.
class ELEK_API HostOrder final : public StreamOrder {
 public:
  [[nodiscard]] Mark mark(Stream /*stream*/) noexcept override { return kPassed; }
  [[nodiscard]] bool passed(Mark /*mark*/) noexcept override { return true; }
  void wait(Mark /*mark*/) noexcept override {}
  void forget(Mark /*mark*/) noexcept override {}
};
[[nodiscard]] ELEK_API StreamOrder& host_order();

// Pool: takes large segments from its upstream, hands out parts of them, and takes them back. A warm pool no longer asks its
// upstream.
//
// Best fit: it takes the smallest free block that holds the request, found through size classes. The rest of that block stays
// free, and free neighbours in one segment are joined. The lists lie outside the blocks, because device memory cannot be read
// from the host. The same calls give the same blocks (segment and offset), whatever addresses the upstream returns.
//
// Streams: a block that is given back on stream S may be used on S again at once, because later work on S runs after the
// earlier work. Any other stream may use it once a mark made in S at that moment has passed (StreamOrder).
//
// Out of memory: wait for every mark, give empty segments back to the upstream, try once more. Then OutOfMemory, with the
// figures of the pool and the largest hole.

struct PoolOptions {
  /// Size of a segment for blocks smaller than this; a larger block gets a segment of its own size.
  size_t segment_bytes = size_t{2} << 20;
  /// Bytes of completely free segments to keep; more than that goes back at once. By default all are kept.
  size_t keep_bytes = std::numeric_limits<size_t>::max();
};

class ELEK_API Pool final : public Policy {
 public:
  struct Figures {
    size_t live_bytes = 0;      // as requested
    size_t used_bytes = 0;      // rounded up to kAlignment
    size_t reserved_bytes = 0;  // from the upstream; what is not used is free
    size_t largest_hole_bytes = 0;
    size_t peak_live_bytes = 0;
    size_t peak_reserved_bytes = 0;
    int64_t allocations = 0;
    int64_t deallocations = 0;
    int64_t upstream_allocations = 0;
    int64_t upstream_deallocations = 0;
    int64_t misuses = 0;  // releases of blocks that are not in use, or with another size: a warning, otherwise ignored
    [[nodiscard]] size_t free_bytes() const noexcept { return reserved_bytes - used_bytes; }
    /// Share of the used bytes that is only rounding.
    [[nodiscard]] double internal_fragmentation() const noexcept;
    /// Share of the free bytes outside the largest hole: 0 if all free bytes are in one piece.
    [[nodiscard]] double external_fragmentation() const noexcept;
  };
  /// A part of a segment, in use or free, for maps and leak reports.
  struct Region {
    int32_t segment = 0;
    size_t offset = 0;
    size_t bytes = 0;
    bool free = false;
    bool waiting = false;  // free, but only for its own stream until a mark has passed
    std::string label;     // first kLabelBytes - 1 characters; empty if free
  };
  static constexpr size_t kLabelBytes = 48;

  /// Upstream and order must outlive the pool. The pool asks the upstream on the host's stream, so the memory must be usable on
  /// all streams.
  explicit Pool(MemoryResource& upstream, PoolOptions options = {}, StreamOrder& order = host_order());
  /// Warns with the names of the blocks still in use, and gives them back to the upstream with their segments.
  ~Pool() override;

  /// Gives completely free segments back to the upstream; blocks that wait for a mark stay. Then trims the upstream.
  size_t trim() override;
  [[nodiscard]] Figures figures() const;
  [[nodiscard]] std::vector<Region> regions() const;                       // by segment and offset
  [[nodiscard]] std::vector<std::span<const std::byte>> segments() const;  // as the upstream gave them
  [[nodiscard]] std::string leaks() const;                                 // "name (bytes) …" of the blocks in use, in order

 private:
  struct Impl;
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  std::unique_ptr<Impl> impl_;
};

/// Owns one block of a MemoryResource, which must outlive it. The block is uninitialised.
class ELEK_API Buffer {
 public:
  Buffer() = default;
  Buffer(size_t bytes, MemoryResource& resource, const BlockLabel& label, Stream stream = {});
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();
  [[nodiscard]] void* data() const noexcept { return data_; }
  [[nodiscard]] size_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] MemoryResource* resource() const noexcept { return resource_; }

 private:
  MemoryResource* resource_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
  Stream stream_;
};

/// Owns a dense row-major array.
class ELEK_API Tensor {
 public:
  Tensor() = default;
  Tensor(const Shape& shape, DType dtype, MemoryResource& resource, const BlockLabel& label);
  [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
  [[nodiscard]] DType dtype() const noexcept { return dtype_; }
  [[nodiscard]] size_t bytes() const noexcept { return buffer_.bytes(); }
  [[nodiscard]] void* data() const noexcept { return buffer_.data(); }
  [[nodiscard]] TensorView view() const;
  /// The elements as floats; ContractError unless the tensor is f32 on the host.
  [[nodiscard]] std::span<float> f32();
  [[nodiscard]] std::span<const float> f32() const;
  [[nodiscard]] Tensor clone(MemoryResource& resource, const BlockLabel& label) const;

 private:
  Buffer buffer_;
  Shape shape_;
  DType dtype_ = DType::kF32;
};

}  // namespace elek
