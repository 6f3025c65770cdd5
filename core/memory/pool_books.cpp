// SPDX-License-Identifier: Apache-2.0
// The pool's lists: blocks in segments, free blocks by size class and lane, blocks in use by address. make_room_in_books()
// reserves memory for them in advance, and all later changes use that memory. So deallocating cannot fail.
// Tests: tests/contract/pool_test.cpp
#include <algorithm>
#include <bit>

#include "core/memory/pool_impl.h"

namespace elek {

/// Reserves entries for one more stream, segment and block in use, and for two more blocks: that of a new segment, and the rest
/// of a split.
void Pool::Impl::make_room_in_books(Stream stream) {
  if (lane_of(stream) < 0) {
    lanes_.emplace_back();
    lanes_.back().stream = stream.handle;
    lanes_.back().head.fill(kNil);
  }
  if (segments_.capacity() == segments_.size()) segments_.reserve(2 * segments_.size() + 8);
  if (spare_.size() < 2) {
    const size_t before = blocks_.size();
    const size_t after = 2 * before + 64;
    spare_.reserve(after);
    tags_.resize(after);
    blocks_.resize(after);
    for (size_t i = after; i-- > before;) spare_.push_back(static_cast<Index>(i));  // the lowest index is taken first
  }
  if (2 * (in_use_ + 1) > table_.size()) {
    std::vector<Entry> old(std::max<size_t>(64, 2 * table_.size()));
    old.swap(table_);
    in_use_ = 0;
    for (const Entry& entry : old) {
      if (entry.address != nullptr) enter(entry.address, entry.index);
    }
  }
}

int32_t Pool::Impl::lane_of(Stream stream) const noexcept {
  for (size_t i = 1; i < lanes_.size(); ++i) {
    if (lanes_[i].stream == stream.handle) return static_cast<int32_t>(i);
  }
  return -1;
}

size_t Pool::Impl::class_of(size_t bytes) noexcept {
  const size_t units = bytes / kAlignment;
  if (units < kExactClasses) return units;
  const auto log = static_cast<size_t>(std::bit_width(units)) - 1;  // >= 4
  return kExactClasses + (log - 4) * kSubclasses + ((units >> (log - 3)) & (kSubclasses - 1));
}

bool Pool::Impl::fits_better(Index a, Index b) const noexcept {
  if (b == kNil) return true;
  const Block& x = blocks_[a];
  const Block& y = blocks_[b];
  if (x.bytes != y.bytes) return x.bytes < y.bytes;
  return x.segment != y.segment ? x.segment < y.segment : x.offset < y.offset;
}

/// The smallest block of the lane with at least `bytes`. If several fit exactly, the one that was deallocated last, because it
/// may still be in a cache. Otherwise the one at the lowest address in the lowest segment.
Pool::Impl::Index Pool::Impl::best_fit(const Lane& lane, size_t bytes) const noexcept {
  if (lane.blocks == 0) return kNil;
  const size_t own = class_of(bytes);
  Index best = kNil;
  for (Index i = lane.head[own]; i != kNil; i = blocks_[i].class_next) {
    if (blocks_[i].bytes == bytes) return i;
    if (blocks_[i].bytes > bytes && fits_better(i, best)) best = i;
  }
  if (best != kNil) return best;
  for (size_t word = (own + 1) / 64, from = (own + 1) % 64; word < kWords; ++word, from = 0) {
    const uint64_t filled = lane.filled[word] & (~uint64_t{0} << from);
    if (filled == 0) continue;
    const size_t next = word * 64 + static_cast<size_t>(std::countr_zero(filled));
    for (Index i = lane.head[next]; i != kNil; i = blocks_[i].class_next) {
      if (fits_better(i, best)) best = i;
    }
    return best;
  }
  return kNil;
}

/// Searches lane 0 and this lane. If both have a block of the best size, takes the one of this lane.
Pool::Impl::Index Pool::Impl::best_fit_for(int32_t lane, size_t bytes) const noexcept {
  const Index own = best_fit(lanes_[static_cast<size_t>(lane)], bytes);
  const Index common = best_fit(lanes_[0], bytes);
  if (own == kNil || common == kNil) return own == kNil ? common : own;
  return blocks_[common].bytes < blocks_[own].bytes ? common : own;
}

size_t Pool::Impl::largest_hole() const noexcept {
  size_t largest = 0;
  for (const Lane& lane : lanes_) {
    for (size_t word = kWords; word-- > 0;) {
      if (lane.filled[word] == 0) continue;
      const size_t top = word * 64 + 63 - static_cast<size_t>(std::countl_zero(lane.filled[word]));
      for (Index i = lane.head[top]; i != kNil; i = blocks_[i].class_next) largest = std::max(largest, blocks_[i].bytes);
      break;
    }
  }
  return largest;
}

bool Pool::Impl::spans_segment(Index index) const noexcept {
  const Block& b = blocks_[index];
  return b.bytes == segments_[static_cast<size_t>(b.segment)].bytes;
}

/// Joins two free neighbours into the left one, which gets the later mark.
Pool::Impl::Index Pool::Impl::join(Index left, Index right) noexcept {
  Block& l = blocks_[left];
  const Block& r = blocks_[right];
  const StreamOrder::Mark earlier = std::min(l.mark, r.mark);
  if (earlier != StreamOrder::kPassed) order_.forget(earlier);
  l.mark = std::max(l.mark, r.mark);
  l.bytes += r.bytes;
  l.after = r.after;
  if (r.after != kNil) blocks_[r.after].before = left;
  drop_block(right);
  return left;
}

void Pool::Impl::link(Index index, size_t size_class) noexcept {
  Block& b = blocks_[index];
  Lane& lane = lanes_[static_cast<size_t>(b.lane)];
  b.class_before = kNil;
  b.class_next = lane.head[size_class];
  if (b.class_next != kNil) blocks_[b.class_next].class_before = index;
  lane.head[size_class] = index;
  lane.filled[size_class / 64] |= uint64_t{1} << (size_class % 64);
}

void Pool::Impl::unlink(Index index, size_t size_class) noexcept {
  const Block& b = blocks_[index];
  Lane& lane = lanes_[static_cast<size_t>(b.lane)];
  (b.class_before == kNil ? lane.head[size_class] : blocks_[b.class_before].class_next) = b.class_next;
  if (b.class_next != kNil) blocks_[b.class_next].class_before = b.class_before;
  if (lane.head[size_class] == kNil) lane.filled[size_class / 64] &= ~(uint64_t{1} << (size_class % 64));
}

void Pool::Impl::file(Index index) noexcept {
  Block& b = blocks_[index];
  Lane& lane = lanes_[static_cast<size_t>(b.lane)];
  b.free = true;
  ++lane.blocks;
  link(index, class_of(b.bytes));
  if (b.lane == 0) {
    if (spans_segment(index)) empty_bytes_ += b.bytes;
    return;
  }
  b.queue_before = lane.newest;  // ordered by mark; a new block is almost always the newest
  while (b.queue_before != kNil && blocks_[b.queue_before].mark > b.mark) b.queue_before = blocks_[b.queue_before].queue_before;
  b.queue_next = b.queue_before == kNil ? lane.oldest : blocks_[b.queue_before].queue_next;
  (b.queue_before == kNil ? lane.oldest : blocks_[b.queue_before].queue_next) = index;
  (b.queue_next == kNil ? lane.newest : blocks_[b.queue_next].queue_before) = index;
}

void Pool::Impl::unfile(Index index) noexcept {
  Block& b = blocks_[index];
  Lane& lane = lanes_[static_cast<size_t>(b.lane)];
  b.free = false;
  --lane.blocks;
  unlink(index, class_of(b.bytes));
  if (b.lane == 0) {
    if (spans_segment(index)) empty_bytes_ -= b.bytes;
    return;
  }
  (b.queue_before == kNil ? lane.oldest : blocks_[b.queue_before].queue_next) = b.queue_next;
  (b.queue_next == kNil ? lane.newest : blocks_[b.queue_next].queue_before) = b.queue_before;
}

/// Changes only the size class: the position in the queue of marks does not depend on the size.
void Pool::Impl::resize(Index index, size_t offset, size_t bytes) noexcept {
  Block& b = blocks_[index];
  const size_t before = class_of(b.bytes), after = class_of(bytes);
  if (b.lane == 0 && spans_segment(index)) empty_bytes_ -= b.bytes;
  if (before != after) unlink(index, before);
  b.offset = offset;
  b.bytes = bytes;
  if (before != after) link(index, after);
  if (b.lane == 0 && spans_segment(index)) empty_bytes_ += b.bytes;
}

/// The rest of the block stays in the lists and waits for the same mark.
Pool::Impl::Index Pool::Impl::carve(Index index, size_t bytes) noexcept {
  const Index made = new_block();
  Block& b = blocks_[index];
  Block& first = blocks_[made];
  first.offset = b.offset;
  first.bytes = bytes;
  first.segment = b.segment;
  first.before = b.before;
  first.after = index;
  (b.before == kNil ? segments_[static_cast<size_t>(b.segment)].first : blocks_[b.before].after) = made;
  b.before = made;
  resize(index, b.offset + bytes, b.bytes - bytes);
  return made;
}

Pool::Impl::Index Pool::Impl::new_block() noexcept {
  const Index index = spare_.back();
  spare_.pop_back();
  blocks_[index] = Block{};
  return index;
}

size_t Pool::Impl::slot_of(const void* address) const noexcept {
  const uint64_t mixed = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(address) / kAlignment) * 0x9E3779B97F4A7C15ULL;
  return static_cast<size_t>(mixed >> 32U) & (table_.size() - 1);  // the size is a power of two
}

void Pool::Impl::enter(const void* address, Index index) noexcept {
  size_t slot = slot_of(address);
  while (table_[slot].address != nullptr) slot = (slot + 1) & (table_.size() - 1);
  table_[slot] = {address, index};
  ++in_use_;
}

size_t Pool::Impl::find(const void* address) const noexcept {
  if (table_.empty()) return kNoSlot;
  for (size_t slot = slot_of(address);; slot = (slot + 1) & (table_.size() - 1)) {
    if (table_[slot].address == nullptr) return kNoSlot;
    if (table_[slot].address == address) return slot;
  }
}

/// Removes the entry, and moves later entries of the same run up, so that searches do not stop at the hole.
void Pool::Impl::strike(size_t hole) noexcept {
  const size_t mask = table_.size() - 1;
  for (size_t slot = (hole + 1) & mask; table_[slot].address != nullptr; slot = (slot + 1) & mask) {
    const size_t home = slot_of(table_[slot].address);
    if (((slot - home) & mask) >= ((slot - hole) & mask)) {  // its home slot is not after the hole
      table_[hole] = table_[slot];
      hole = slot;
    }
  }
  table_[hole] = {};
  --in_use_;
}

std::vector<Pool::Region> Pool::Impl::regions() const {
  const std::lock_guard lock(mutex_);
  std::vector<Region> made;
  for (size_t s = 0; s < segments_.size(); ++s) {
    if (segments_[s].base == nullptr) continue;
    for (Index i = segments_[s].first; i != kNil; i = blocks_[i].after) {
      const Block& b = blocks_[i];
      made.push_back(
          {static_cast<int32_t>(s), b.offset, b.bytes, b.free, b.free && b.lane != 0, b.free ? "" : tags_[i].label.data()});
    }
  }
  return made;
}

std::vector<std::span<const std::byte>> Pool::Impl::segments() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::span<const std::byte>> made;
  for (const Segment& s : segments_) {
    if (s.base != nullptr) made.emplace_back(s.base, s.bytes);
  }
  return made;
}

std::string Pool::Impl::leaks() const {
  const std::lock_guard lock(mutex_);
  std::string text;
  for (const Segment& segment : segments_) {
    if (segment.base == nullptr) continue;
    for (Index i = segment.first; i != kNil; i = blocks_[i].after) {
      if (!blocks_[i].free)
        text += std::string(tags_[i].label.data()) + " (" + std::to_string(tags_[i].asked_bytes) + " bytes) ";
    }
  }
  return text;
}

}  // namespace elek
