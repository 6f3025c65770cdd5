// SPDX-License-Identifier: Apache-2.0
// Tests: tests/unit/ledger_test.cpp
#include "core/memory/ledger.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <string>

#include "core/error.h"
#include "core/memory/process_memory.h"

namespace elek {
namespace {

size_t& of(UseBytes& bytes, Use use) { return bytes[static_cast<size_t>(use)]; }

}  // namespace

size_t total(const UseBytes& bytes) noexcept { return std::accumulate(bytes.begin(), bytes.end(), size_t{0}); }

void Ledger::announce_arena(size_t arena_bytes, size_t activations_bytes) {
  const std::lock_guard lock(mutex_);
  announced_arena_ = arena_bytes;
  announced_activations_ = std::min(activations_bytes, arena_bytes);
}

UseBytes Ledger::live() const {
  const std::lock_guard lock(mutex_);
  return live_;
}

Ledger::Peak Ledger::peak() const {
  const std::lock_guard lock(mutex_);
  Peak found = peak_;
  if (at_peak_) found.system_bytes = upstream_.system_bytes();
  return found;
}

void Ledger::reset_peak() {
  const std::lock_guard lock(mutex_);
  peak_.uses = live_;
  peak_bytes_ = total(live_);
  at_peak_ = true;
}

void Ledger::book(const Entry& entry, bool in) noexcept {
  if (!in && at_peak_) {
    peak_.system_bytes = upstream_.system_bytes();
    at_peak_ = false;
  }
  const auto move = [in](size_t& to, size_t bytes) { to = in ? to + bytes : to - bytes; };
  move(of(live_, entry.use), entry.bytes - entry.workspace_bytes);
  move(of(live_, Use::kWorkspace), entry.workspace_bytes);
  if (const size_t now = total(live_); now > peak_bytes_) {
    peak_bytes_ = now;
    peak_.uses = live_;
    at_peak_ = true;
  }
}

void* Ledger::do_allocate(size_t bytes, const BlockLabel& label, Stream stream) {
  void* block = upstream_.allocate(bytes, label, stream);
  const std::lock_guard lock(mutex_);
  Entry entry{label.use, bytes, 0};
  if (entry.use == Use::kActivations && bytes == announced_arena_) entry.workspace_bytes = bytes - announced_activations_;
  try {
    blocks_.emplace(block, entry);
  } catch (const std::bad_alloc&) {
    upstream_.deallocate(block, bytes, stream);
    throw OutOfMemory("no host memory to record the allocation of '" + std::string(label.name) + "'",
                      {.requested_bytes = bytes});
  }
  book(entry, true);
  return block;
}

void Ledger::do_deallocate(void* block, size_t bytes, Stream stream) noexcept {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = blocks_.find(block); found != blocks_.end()) {
      book(found->second, false);
      blocks_.erase(found);
    }
  }
  upstream_.deallocate(block, bytes, stream);
}

Account account(const Ledger& ledger, const Pool& pool) {
  Account made;
  made.uses = ledger.live();
  const size_t used = total(made.uses), reserved = pool.figures().reserved_bytes;
  made.pool_bytes = reserved - std::min(reserved, used);
  if (is_host(ledger.device())) {
    const ProcessMemory process = process_memory();
    made.system_bytes = process.resident_bytes;
    made.library_bytes = process.file_bytes;
    size_t touched = 0;
    for (const std::span<const std::byte> segment : pool.segments()) touched += resident_bytes_of(segment);
    made.untouched_bytes = reserved - std::min(reserved, touched);
  } else {
    made.system_bytes = pool.system_bytes();
    made.library_bytes = ledger.system_bytes_before();
  }
  made.rest_bytes = static_cast<int64_t>(made.system_bytes) - static_cast<int64_t>(made.library_bytes) -
                    static_cast<int64_t>(used + made.pool_bytes - made.untouched_bytes);
  return made;
}

}  // namespace elek
