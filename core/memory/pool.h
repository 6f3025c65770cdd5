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

#include <array>
#include <cstdint>
#include <limits>
#include <mutex>
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
  using Index = uint32_t;  // of a block in blocks_
  static constexpr Index kNil = std::numeric_limits<Index>::max();
  static constexpr size_t kExactClasses = 16;  // below 16 units of kAlignment each size has its own class;
  static constexpr size_t kSubclasses = 8;     // above, each power of two has eight classes
  static constexpr size_t kClasses = kExactClasses + kSubclasses * 52;
  static constexpr size_t kWords = (kClasses + 63) / 64;

  struct Block {  // one cache line; what is needed only for blocks in use is in Tag
    size_t offset = 0;
    size_t bytes = 0;
    StreamOrder::Mark mark = StreamOrder::kPassed;
    Index before = kNil, after = kNil;             // neighbours in the segment
    Index class_before = kNil, class_next = kNil;  // in the list of its size class, if free
    Index queue_before = kNil, queue_next = kNil;  // in its lane's queue of marks, if it waits
    int32_t segment = -1;
    int32_t lane = 0;
    bool free = false;
  };
  struct Tag {  // of a block in use
    size_t asked_bytes = 0;
    std::array<char, kLabelBytes> label{};
  };
  struct Segment {
    std::byte* base = nullptr;  // null: unused entry
    size_t bytes = 0;
    Index first = kNil;
  };
  /// Free blocks that one stream may use. Lane 0 is for every stream.
  struct Lane {
    void* stream = nullptr;
    std::array<Index, kClasses> head;
    std::array<uint64_t, kWords> filled{};  // bit c: class c has blocks
    size_t blocks = 0;
    Index oldest = kNil, newest = kNil;  // queue of marks
  };

  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;

  [[nodiscard]] static size_t class_of(size_t bytes) noexcept;
  [[nodiscard]] Index best_fit(const Lane& lane, size_t bytes) const noexcept;
  [[nodiscard]] Index best_fit_for(int32_t lane, size_t bytes) const noexcept;
  [[nodiscard]] bool fits_better(Index a, Index b) const noexcept;
  [[nodiscard]] int32_t lane_of(Stream stream) const noexcept;  // -1: none yet
  [[nodiscard]] size_t largest_hole() const noexcept;

  void make_room_in_books(Stream stream);
  Index grow(size_t bytes, size_t asked, int32_t lane, const BlockLabel& label);
  Index add_segment(size_t bytes, const BlockLabel& label);
  void* take(Index index, size_t bytes, size_t asked, std::string_view label) noexcept;
  void give_back(Index index, int32_t lane, StreamOrder::Mark mark) noexcept;
  Index join(Index left, Index right) noexcept;
  void file(Index index) noexcept;                                 // adds it to its lane's classes (and queue)
  void unfile(Index index) noexcept;                               // removes it from them
  void link(Index index, size_t size_class) noexcept;              // adds it to one class of its lane
  void unlink(Index index, size_t size_class) noexcept;            // removes it
  void resize(Index index, size_t offset, size_t bytes) noexcept;  // of a block in the lists; changes its class if needed
  Index carve(Index index, size_t bytes) noexcept;                 // splits the first bytes off a block in the lists
  void settle(bool wait) noexcept;                                 // moves blocks whose mark has passed to lane 0
  size_t trim_locked() noexcept;
  size_t release_segment(int32_t segment) noexcept;
  [[nodiscard]] bool spans_segment(Index index) const noexcept;

  [[nodiscard]] Index new_block() noexcept;  // room was made before
  void drop_block(Index index) noexcept { spare_.push_back(index); }
  [[nodiscard]] size_t slot_of(const void* address) const noexcept;
  void enter(const void* address, Index index) noexcept;
  [[nodiscard]] size_t find(const void* address) const noexcept;  // its slot, or kNoSlot
  void strike(size_t slot) noexcept;
  static constexpr size_t kNoSlot = std::numeric_limits<size_t>::max();

  StreamOrder& order_;
  const PoolOptions options_;
  mutable std::mutex mutex_;
  std::vector<Block> blocks_;
  std::vector<Tag> tags_;     // of the same index
  std::vector<Index> spare_;  // unused entries of blocks_
  std::vector<Segment> segments_;
  std::vector<Lane> lanes_;
  struct Entry {
    const void* address = nullptr;
    Index index = kNil;
  };
  std::vector<Entry> table_;  // blocks in use by address: open addressing, at most half full
  size_t in_use_ = 0;
  size_t empty_bytes_ = 0;  // of wholly free segments in lane 0
  Figures figures_;
};

}  // namespace elek
