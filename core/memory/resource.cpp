// SPDX-License-Identifier: Apache-2.0
// Host memory, and two policies for any resource: Tracker counts, Limit refuses. A call that throws changes no counter.
// Tests: tests/contract/memory_resource_test.cpp
#include "elek/memory.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

#include "core/error.h"
#include "core/memory/process_memory.h"

namespace elek {
namespace {

/// Asks for pages of 2 MiB, if the system gives them on request. Kernels read tens of megabytes in many streams at once (36
/// transform points, for example); with pages of 4 KiB they would often miss the TLB. If the request is refused, kernels are
/// only slower. Cost: a large block may occupy up to one large page more than was written.
void prefer_large_pages([[maybe_unused]] void* block, [[maybe_unused]] size_t bytes) {
#ifdef MADV_HUGEPAGE
  constexpr size_t kFrom = size_t{4} << 20, kSmallPage = 4096;
  if (bytes < kFrom) return;
  const auto begin = (reinterpret_cast<uintptr_t>(block) + kSmallPage - 1) / kSmallPage * kSmallPage;
  const auto end = (reinterpret_cast<uintptr_t>(block) + bytes) / kSmallPage * kSmallPage;
  (void)::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);  // NOLINT(performance-no-int-to-ptr)
#endif
}

}  // namespace

std::string_view name_of(Use use) {
  static constexpr std::array<std::string_view, 9> kNames{"model",   "weights", "activations", "workspace", "statistics",
                                                          "staging", "moments", "kept",        "other"};
  return kNames[static_cast<size_t>(use)];
}

void* MemoryResource::allocate(size_t bytes, const BlockLabel& label, Stream stream) {
  return bytes == 0 ? nullptr : do_allocate(bytes, label, stream);
}

void MemoryResource::deallocate(void* block, size_t bytes, Stream stream) noexcept {
  if (block != nullptr) {
    do_deallocate(block, bytes, stream);
  }
}

void* HostResource::do_allocate(size_t bytes, const BlockLabel& label, Stream /*stream*/) {
  void* block = nullptr;
  // aligned_alloc needs a multiple of the alignment. Sizes that cannot be rounded up cannot be allocated anyway.
  if (bytes <= static_cast<size_t>(std::numeric_limits<ptrdiff_t>::max()) - kAlignment) {
    block = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  }
  if (block == nullptr) {
    throw OutOfMemory("the system has no memory for '" + std::string(label.name) + "'; use a smaller batch or a smaller model",
                      {.requested_bytes = bytes});
  }
  prefer_large_pages(block, bytes);
  return block;
}

void HostResource::do_deallocate(void* block, size_t /*bytes*/, Stream /*stream*/) noexcept { std::free(block); }

size_t HostResource::system_bytes() const noexcept { return resident_bytes(); }

MemoryResource& host_resource() {
  // Never destroyed: tensors of static lifetime may outlive main.
  static MemoryResource& resource = *[] {
#ifdef __GLIBC__
    // Large blocks should go back to the system as soon as they are free. By default glibc raises its threshold to the largest
    // block freed so far (up to 32 MB) and then keeps such blocks in its heap: 21 MB after packing the weights of a ResNet-18.
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
    return new HostResource;
  }();
  return resource;
}

Tracker::Figures Tracker::figures() const {
  const std::lock_guard lock(mutex_);
  return figures_;
}

void Tracker::reset_peak() {
  const std::lock_guard lock(mutex_);
  figures_.peak_bytes = figures_.live_bytes;
}

void Tracker::record_events(bool on) {
  const std::lock_guard lock(mutex_);
  if (on && !recording_) {
    events_.clear();
    events_.reserve(static_cast<size_t>(figures_.allocations - figures_.deallocations));
  }
  recording_ = on;
}

std::vector<Tracker::Event> Tracker::events() const {
  const std::lock_guard lock(mutex_);
  return events_;
}

void* Tracker::do_allocate(size_t bytes, const BlockLabel& label, Stream stream) {
  void* block = upstream_.allocate(bytes, label, stream);
  try {
    const std::lock_guard lock(mutex_);
    if (recording_) {
      // Reserves an entry for this event and for the end of every live block: deallocation must not throw, so it must not
      // allocate.
      const size_t needed = events_.size() + 2 + static_cast<size_t>(figures_.allocations - figures_.deallocations);
      if (events_.capacity() < needed) {
        events_.reserve(std::max(needed, 2 * events_.capacity()));
      }
      events_.push_back({true, bytes, reinterpret_cast<uintptr_t>(block), std::string(label.name)});
    }
    figures_.live_bytes += bytes;
    figures_.peak_bytes = std::max(figures_.peak_bytes, figures_.live_bytes);
    ++figures_.allocations;
  } catch (const std::bad_alloc&) {
    upstream_.deallocate(block, bytes, stream);
    throw OutOfMemory("no host memory to record the allocation of '" + std::string(label.name) + "'",
                      {.requested_bytes = bytes});
  }
  return block;
}

void Tracker::do_deallocate(void* block, size_t bytes, Stream stream) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (recording_) {
      events_.push_back({false, bytes, reinterpret_cast<uintptr_t>(block), {}});  // do_allocate reserved the entry
    }
    figures_.live_bytes -= bytes;
    ++figures_.deallocations;
  }
  upstream_.deallocate(block, bytes, stream);
}

size_t Limit::live_bytes() const {
  const std::lock_guard lock(mutex_);
  return live_bytes_;
}

void* Limit::do_allocate(size_t bytes, const BlockLabel& label, Stream stream) {
  {
    const std::lock_guard lock(mutex_);
    if (bytes > limit_bytes_ - live_bytes_) {  // live <= limit always holds: no overflow on either side
      throw OutOfMemory("'" + std::string(label.name) + "' exceeds the memory limit",
                        {.requested_bytes = bytes,
                         .in_use_bytes = live_bytes_,
                         .peak_bytes = peak_bytes_,
                         .limit_bytes = limit_bytes_,
                         .largest_free_bytes = limit_bytes_ - live_bytes_});
    }
    live_bytes_ += bytes;  // counted before the upstream call, so that two threads cannot both pass the check
  }
  void* block = nullptr;
  try {
    block = upstream_.allocate(bytes, label, stream);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    live_bytes_ -= bytes;
    throw;
  }
  const std::lock_guard lock(mutex_);
  peak_bytes_ = std::max(peak_bytes_, live_bytes_);
  return block;
}

void Limit::do_deallocate(void* block, size_t bytes, Stream stream) noexcept {
  upstream_.deallocate(block, bytes, stream);
  const std::lock_guard lock(mutex_);
  live_bytes_ -= bytes;
}

}  // namespace elek
