// SPDX-License-Identifier: Apache-2.0
// Pool: takes large segments from its upstream, hands out parts of them, and takes them back. Once it is warm, nobody asks the
// upstream.
//
// Best fit: it takes the smallest free block that holds the request, found through size classes. The rest of that block stays
// free, and free neighbours in one segment are joined. The lists lie outside the blocks, because device memory cannot be read
// from the host. The same calls give the same blocks (segment and offset), whatever addresses the upstream returns.
//
// Streams: a block that is given back on stream S may be used on S again at once, because later work on S runs after the
// earlier work. Any other stream may use it once a mark made in S at that moment has passed (stream_order.h).
//
// Out of memory: wait for every mark, give empty segments back to the upstream, try once more. Then OutOfMemory, with the
// figures of the pool and the largest hole.
// Tests: tests/contract/memory_resource_test.cpp, tests/contract/pool_test.cpp · Bench: bench/memory_lab_bench.cpp
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/memory/resource.h"
#include "core/memory/stream_order.h"

namespace elek {

struct PoolOptions {
  /// Size of a segment for blocks smaller than this; a larger block gets a segment of its own size.
  size_t segment_bytes = size_t{2} << 20;
  /// Bytes of completely free segments to keep. More than that goes back at once. With all of them kept, a warm pool never asks
  /// the upstream.
  size_t keep_bytes = std::numeric_limits<size_t>::max();
};

class Pool final : public Policy {
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

  /// Upstream and order must outlive the pool. The upstream is asked on the host's stream: its memory must be usable on all
  /// streams.
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

}  // namespace elek
