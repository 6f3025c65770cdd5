// SPDX-License-Identifier: Apache-2.0
// Pool::Impl: the pool's state and its lists of blocks. Blocks lie in segments. Free blocks are in lists by size class, with
// separate lists per stream. Blocks in use are found by their address. Only pool.cpp and pool_books.cpp include this file.
// Every call holds mutex_.
// Tests: tests/contract/pool_test.cpp
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elek/memory.h"

namespace elek {

struct Pool::Impl {
  Impl(MemoryResource& upstream, PoolOptions options, StreamOrder& order);
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl();
  void* allocate(size_t bytes, const BlockLabel& label, Stream stream);
  void deallocate(void* block, size_t bytes, Stream stream) noexcept;
  size_t trim();
  [[nodiscard]] Figures figures() const;
  [[nodiscard]] std::vector<Region> regions() const;
  [[nodiscard]] std::vector<std::span<const std::byte>> segments() const;
  [[nodiscard]] std::string leaks() const;

  using Index = uint32_t;  // index into blocks_
  static constexpr Index kNil = std::numeric_limits<Index>::max();
  static constexpr size_t kExactClasses = 16;  // below 16 units of kAlignment each size has its own class;
  static constexpr size_t kSubclasses = 8;     // above, each power of two has eight classes
  static constexpr size_t kClasses = kExactClasses + kSubclasses * 52;
  static constexpr size_t kWords = (kClasses + 63) / 64;

  struct Block {  // one cache line; fields that only blocks in use need are in Tag
    size_t offset = 0;
    size_t bytes = 0;
    StreamOrder::Mark mark = StreamOrder::kPassed;
    Index before = kNil, after = kNil;             // neighbours in the segment
    Index class_before = kNil, class_next = kNil;  // in the list of its size class, if free
    Index queue_before = kNil, queue_next = kNil;  // in its lane's queue of marks, if it waits for its mark
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

  [[nodiscard]] static size_t class_of(size_t bytes) noexcept;
  [[nodiscard]] Index best_fit(const Lane& lane, size_t bytes) const noexcept;
  [[nodiscard]] Index best_fit_for(int32_t lane, size_t bytes) const noexcept;
  [[nodiscard]] bool fits_better(Index a, Index b) const noexcept;
  [[nodiscard]] int32_t lane_of(Stream stream) const noexcept;  // -1: the stream has no lane yet
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

  [[nodiscard]] Index new_block() noexcept;  // make_room_in_books() reserved the entry
  void drop_block(Index index) noexcept { spare_.push_back(index); }
  [[nodiscard]] size_t slot_of(const void* address) const noexcept;
  void enter(const void* address, Index index) noexcept;
  [[nodiscard]] size_t find(const void* address) const noexcept;  // the slot of the address, or kNoSlot
  void strike(size_t slot) noexcept;
  static constexpr size_t kNoSlot = std::numeric_limits<size_t>::max();

  MemoryResource& upstream_;
  StreamOrder& order_;
  const PoolOptions options_;
  mutable std::mutex mutex_;
  std::vector<Block> blocks_;
  std::vector<Tag> tags_;     // same index as blocks_
  std::vector<Index> spare_;  // unused entries of blocks_
  std::vector<Segment> segments_;
  std::vector<Lane> lanes_;
  struct Entry {
    const void* address = nullptr;
    Index index = kNil;
  };
  std::vector<Entry> table_;  // blocks in use by address: open addressing, at most half full
  size_t in_use_ = 0;
  size_t empty_bytes_ = 0;  // bytes of completely free segments in lane 0
  Figures figures_;
};

}  // namespace elek
