// SPDX-License-Identifier: Apache-2.0
// The pool: allocating, deallocating, growing and trimming. Its lists of blocks are in pool_books.cpp. The lock is held during
// calls to the upstream. These are rare, and two threads must not both grow the pool for the same request.
// Tests: tests/contract/memory_resource_test.cpp, tests/contract/pool_test.cpp
#include <algorithm>
#include <new>

#include "core/error.h"
#include "core/memory/pool_impl.h"
#include "core/runtime.h"
#include "elek/memory.h"

namespace elek {
namespace {

constexpr size_t kLargest = std::numeric_limits<size_t>::max() - kAlignment;

size_t rounded_up(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void warn_without_throwing(const char* message, size_t bytes) noexcept {
  try {
    warn(message + (" (" + std::to_string(bytes) + " bytes)"));
  } catch (const std::bad_alloc&) {  // no memory for the warning; the count of misuses still includes it
  }
}

}  // namespace

Pool::Impl::Impl(MemoryResource& upstream, PoolOptions options, StreamOrder& order)
    : upstream_(upstream), order_(order), options_([&options] {
        options.segment_bytes = rounded_up(std::min(options.segment_bytes, kLargest));
        return options;
      }()) {
  lanes_.emplace_back();
  lanes_[0].head.fill(kNil);
}

Pool::Impl::~Impl() {
  settle(true);
  if (in_use_ > 0) {
    try {
      warn("a pool is destroyed while blocks are in use: " + leaks());
    } catch (const std::bad_alloc&) {
      warn_without_throwing("a pool is destroyed while blocks are in use", figures_.live_bytes);
    }
  }
  for (const Segment& segment : segments_) {
    if (segment.base != nullptr) upstream_.deallocate(segment.base, segment.bytes);
  }
}

void* Pool::Impl::allocate(size_t bytes, const BlockLabel& label, Stream stream) {
  if (bytes > kLargest) {
    throw OutOfMemory("a block is too large for any memory: '" + std::string(label.name) + "'", {.requested_bytes = bytes});
  }
  const size_t rounded = rounded_up(bytes);
  const std::lock_guard lock(mutex_);
  try {
    make_room_in_books(stream);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory("no host memory for the pool's records, needed for '" + std::string(label.name) + "'",
                      {.requested_bytes = bytes, .in_use_bytes = figures_.live_bytes});
  }
  const int32_t lane = lane_of(stream);
  Index found = best_fit_for(lane, rounded);
  if (found == kNil) {
    settle(/*wait=*/false);
    found = best_fit_for(lane, rounded);
  }
  if (found == kNil) found = grow(rounded, bytes, lane, label);
  return take(found, rounded, bytes, label.name);
}

void Pool::Impl::deallocate(void* block, size_t bytes, Stream stream) noexcept {
  const std::lock_guard lock(mutex_);
  const size_t slot = find(block);
  if (slot == kNoSlot) {
    ++figures_.misuses;
    warn_without_throwing("a block was freed that this pool did not allocate, or that was freed before", bytes);
    return;
  }
  const Index index = table_[slot].index;
  const size_t asked = tags_[index].asked_bytes;
  if (asked != bytes) {
    ++figures_.misuses;
    warn_without_throwing("a block was freed with another size than it was allocated with", bytes);
  }
  strike(slot);
  figures_.live_bytes -= asked;
  figures_.used_bytes -= blocks_[index].bytes;
  ++figures_.deallocations;
  StreamOrder::Mark mark = order_.mark(stream);
  int32_t lane = mark == StreamOrder::kPassed ? 0 : lane_of(stream);
  if (lane < 0) {  // an unknown stream: adding it would need memory, so wait for it instead
    order_.wait(mark);
    order_.forget(mark);
    mark = StreamOrder::kPassed;
    lane = 0;
  }
  give_back(index, lane, mark);
}

Pool::Impl::Index Pool::Impl::grow(size_t bytes, size_t asked, int32_t lane, const BlockLabel& label) {
  try {
    return add_segment(std::max(bytes, options_.segment_bytes), label);
  } catch (const OutOfMemory&) {  // handled by the rest of this function
  }
  settle(/*wait=*/true);
  if (const Index found = best_fit_for(lane, bytes); found != kNil) return found;
  (void)trim_locked();
  try {
    return add_segment(bytes, label);
  } catch (const OutOfMemory& error) {
    const size_t fits = std::max(largest_hole(), error.figures().largest_free_bytes);
    const size_t free = figures_.reserved_bytes - figures_.used_bytes;
    const std::string pieces =
        free == 0 ? "" : " (free there: " + bytes_text(free) + " in pieces of at most " + bytes_text(largest_hole()) + ")";
    throw OutOfMemory("'" + std::string(label.name) + "' does not fit into the pool" + pieces + ": " + error.reason(),
                      {.requested_bytes = asked,
                       .in_use_bytes = figures_.live_bytes,
                       .peak_bytes = figures_.peak_live_bytes,
                       .limit_bytes = error.figures().limit_bytes,
                       .largest_free_bytes = fits});
  }
}

Pool::Impl::Index Pool::Impl::add_segment(size_t bytes, const BlockLabel& label) {
  auto* base = static_cast<std::byte*>(upstream_.allocate(bytes, label));
  ++figures_.upstream_allocations;
  figures_.reserved_bytes += bytes;
  figures_.peak_reserved_bytes = std::max(figures_.peak_reserved_bytes, figures_.reserved_bytes);
  size_t place = 0;  // the lowest unused entry
  while (place < segments_.size() && segments_[place].base != nullptr) ++place;
  if (place == segments_.size()) segments_.emplace_back();  // make_room_in_books() reserved it
  const Index index = new_block();
  Block& b = blocks_[index];
  b.bytes = bytes;
  b.segment = static_cast<int32_t>(place);
  segments_[place] = {base, bytes, index};
  file(index);
  return index;
}

void* Pool::Impl::take(Index index, size_t bytes, size_t asked, std::string_view label) noexcept {
  if (blocks_[index].bytes > bytes) {
    index = carve(index, bytes);
  } else {
    unfile(index);
    if (blocks_[index].mark != StreamOrder::kPassed) order_.forget(blocks_[index].mark);
    blocks_[index].mark = StreamOrder::kPassed;
  }
  const Block& b = blocks_[index];
  Tag& tag = tags_[index];
  tag.asked_bytes = asked;
  const size_t kept = std::min(label.size(), kLabelBytes - 1);
  std::copy_n(label.data(), kept, tag.label.data());
  tag.label[kept] = '\0';
  figures_.live_bytes += asked;
  figures_.used_bytes += bytes;
  figures_.peak_live_bytes = std::max(figures_.peak_live_bytes, figures_.live_bytes);
  ++figures_.allocations;
  void* address = segments_[static_cast<size_t>(b.segment)].base + b.offset;
  enter(address, index);
  return address;
}

void Pool::Impl::give_back(Index index, int32_t lane, StreamOrder::Mark mark) noexcept {
  blocks_[index].lane = lane;
  blocks_[index].mark = mark;
  const auto joins = [&](Index other) { return other != kNil && blocks_[other].free && blocks_[other].lane == lane; };
  const Index left = blocks_[index].before, right = blocks_[index].after;
  if (lane != 0) {  // the joined block has the later mark, so it must be sorted into the queue again
    for (const Index other : {left, right}) {
      if (!joins(other)) continue;
      unfile(other);
      index = blocks_[index].offset < blocks_[other].offset ? join(index, other) : join(other, index);
    }
    file(index);
    return;
  }
  // Lane 0 (free for every stream): a free neighbour grows in place, and usually stays in the list of its size class.
  if (joins(left)) {
    if (joins(right)) {
      unfile(right);
      index = join(index, right);
    }
    const size_t bytes = blocks_[left].bytes + blocks_[index].bytes;
    blocks_[left].after = blocks_[index].after;
    if (blocks_[left].after != kNil) blocks_[blocks_[left].after].before = left;
    drop_block(index);
    resize(left, blocks_[left].offset, bytes);
    index = left;
  } else if (joins(right)) {
    const Block& b = blocks_[index];
    blocks_[right].before = b.before;
    (b.before == kNil ? segments_[static_cast<size_t>(b.segment)].first : blocks_[b.before].after) = right;
    drop_block(index);
    resize(right, b.offset, blocks_[right].bytes + b.bytes);
    index = right;
  } else {
    file(index);
  }
  if (empty_bytes_ > options_.keep_bytes && spans_segment(index)) (void)release_segment(blocks_[index].segment);
}

void Pool::Impl::settle(bool wait) noexcept {
  for (size_t lane = 1; lane < lanes_.size(); ++lane) {
    while (lanes_[lane].oldest != kNil) {
      const Index index = lanes_[lane].oldest;
      const StreamOrder::Mark mark = blocks_[index].mark;
      if (wait) {
        order_.wait(mark);
      } else if (!order_.passed(mark)) {
        break;
      }
      unfile(index);
      order_.forget(mark);
      give_back(index, 0, StreamOrder::kPassed);
    }
  }
}

size_t Pool::Impl::trim() {
  const std::lock_guard lock(mutex_);
  settle(/*wait=*/false);
  return trim_locked() + upstream_.trim();
}

size_t Pool::Impl::trim_locked() noexcept {
  size_t given_back = 0;
  for (size_t i = 0; i < segments_.size(); ++i) {
    const Segment& s = segments_[i];
    if (s.base != nullptr && blocks_[s.first].free && blocks_[s.first].lane == 0 && spans_segment(s.first)) {
      given_back += release_segment(static_cast<int32_t>(i));
    }
  }
  return given_back;
}

size_t Pool::Impl::release_segment(int32_t place) noexcept {
  Segment& s = segments_[static_cast<size_t>(place)];
  const size_t bytes = s.bytes;
  unfile(s.first);
  drop_block(s.first);
  upstream_.deallocate(s.base, bytes);
  s = {};
  ++figures_.upstream_deallocations;
  figures_.reserved_bytes -= bytes;
  return bytes;
}

Pool::Figures Pool::Impl::figures() const {
  const std::lock_guard lock(mutex_);
  Figures f = figures_;
  f.largest_hole_bytes = largest_hole();
  return f;
}

double Pool::Figures::internal_fragmentation() const noexcept {
  return used_bytes == 0 ? 0.0 : static_cast<double>(used_bytes - live_bytes) / static_cast<double>(used_bytes);
}

double Pool::Figures::external_fragmentation() const noexcept {
  return free_bytes() == 0 ? 0.0 : 1.0 - static_cast<double>(largest_hole_bytes) / static_cast<double>(free_bytes());
}

Pool::Pool(MemoryResource& upstream, PoolOptions options, StreamOrder& order)
    : Policy(upstream), impl_(std::make_unique<Impl>(upstream, options, order)) {}
Pool::~Pool() = default;
size_t Pool::trim() { return impl_->trim(); }
Pool::Figures Pool::figures() const { return impl_->figures(); }
std::vector<Pool::Region> Pool::regions() const { return impl_->regions(); }
std::vector<std::span<const std::byte>> Pool::segments() const { return impl_->segments(); }
std::string Pool::leaks() const { return impl_->leaks(); }
void* Pool::do_allocate(size_t bytes, const BlockLabel& label, Stream stream) { return impl_->allocate(bytes, label, stream); }
void Pool::do_deallocate(void* block, size_t bytes, Stream stream) noexcept { impl_->deallocate(block, bytes, stream); }

}  // namespace elek
