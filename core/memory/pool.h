// SPDX-License-Identifier: Apache-2.0
// Pool: hands out parts of large upstream segments and takes them back, so that in steady state nobody asks the upstream.
//
// Best fit: the smallest free block that holds the request, found through size classes; what is left over stays a free block,
// and free neighbours of one segment become one again. The books lie outside the blocks: device memory cannot be read from the
// host. The same calls give the same blocks (segment and offset), whatever addresses the upstream returns.
//
// Streams: a block given back on stream S may be had again on S at once, because what S does next comes after what used it. On
// any other stream it may be had once a mark made in S at that moment has passed (stream_order.h).
//
// Out of memory: wait for every mark, give empty segments back to the upstream, try once more, then OutOfMemory with the
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
  /// What is asked of the upstream for a block smaller than this; a larger block gets a segment of its own size.
  size_t segment_bytes = size_t{2} << 20;
  /// Bytes of wholly free segments to keep for later; what is beyond goes back at once. All: no upstream call in steady state.
  size_t keep_bytes = std::numeric_limits<size_t>::max();
};

class Pool final : public Policy {
 public:
  struct Figures {
    size_t live_bytes = 0;      // as users asked
    size_t used_bytes = 0;      // rounded up to kAlignment
    size_t reserved_bytes = 0;  // of the upstream; the difference to used_bytes is free
    size_t largest_hole_bytes = 0;
    size_t peak_live_bytes = 0;
    size_t peak_reserved_bytes = 0;
    int64_t allocations = 0;
    int64_t deallocations = 0;
    int64_t upstream_allocations = 0;
    int64_t upstream_deallocations = 0;
    int64_t misuses = 0;  // blocks given back that are not in use, or with another size: warned of, otherwise ignored
    [[nodiscard]] size_t free_bytes() const noexcept { return reserved_bytes - used_bytes; }
    /// Share of the used bytes that nobody asked for.
    [[nodiscard]] double internal_fragmentation() const noexcept;
    /// Share of the free bytes that the largest hole leaves out: 0 if all that is free is in one piece.
    [[nodiscard]] double external_fragmentation() const noexcept;
  };
  /// A part of a segment, in use or free, for maps and leak reports.
  struct Region {
    int32_t segment = 0;
    size_t offset = 0;
    size_t bytes = 0;
    bool free = false;
    bool waiting = false;  // free, but for its stream alone until a mark has passed
    std::string label;     // first kLabelBytes - 1 characters; empty if free
  };
  static constexpr size_t kLabelBytes = 48;

  /// The upstream (asked on the host's stream: what it gives must be usable on all streams) and the order outlive the pool.
  explicit Pool(MemoryResource& upstream, PoolOptions options = {}, StreamOrder& order = host_order());
  /// Blocks still in use are named in a warning, and go back to the upstream with their segments.
  ~Pool() override;

  /// Gives wholly free segments back to the upstream; blocks that wait for a mark stay. Then the upstream trims.
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
