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

/// Smaller blocks are written at once, and asking for their pages costs a system call each.
constexpr size_t kSmallBlock = size_t{1} << 16;

size_t& of(UseBytes& bytes, Use use) { return bytes[static_cast<size_t>(use)]; }

size_t minus(size_t whole, size_t part) noexcept { return whole - std::min(whole, part); }

/// Counts `bytes` more as never written, those of the largest use first. mincore reports a page that was only read, but that is
/// the one page of zeros which all programs share, and the process's figure leaves it out.
void add_untouched(UseBytes& untouched, const UseBytes& uses, size_t bytes) noexcept {
  while (bytes > 0) {
    size_t largest = 0;
    for (size_t use = 0; use < kUses; ++use) {
      if (uses[use] - untouched[use] > uses[largest] - untouched[largest]) largest = use;
    }
    const size_t more = std::min(bytes, uses[largest] - untouched[largest]);
    if (more == 0) return;
    untouched[largest] += more;
    bytes -= more;
  }
}

}  // namespace

size_t Ledger::Peak::library_and_rest_bytes() const noexcept { return minus(system_bytes, total(uses) - total(untouched)); }

size_t Account::pool_written_bytes() const noexcept { return minus(pool_bytes, untouched_bytes - total(uses_untouched)); }

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
  if (at_peak_) look(found);
  return found;
}

UseBytes Ledger::untouched() const {
  const std::lock_guard lock(mutex_);
  return untouched_now();
}

/// Of an arena, workspace counts as never written first.
UseBytes Ledger::untouched_now() const noexcept {
  UseBytes untouched{};
  if (!is_host(device())) return untouched;
  for (const auto& [block, entry] : blocks_) {
    if (entry.bytes < kSmallBlock) continue;
    const size_t bytes = minus(entry.bytes, resident_bytes_of({static_cast<const std::byte*>(block), entry.bytes}));
    const size_t of_workspace = std::min(bytes, entry.workspace_bytes);
    of(untouched, Use::kWorkspace) += of_workspace;
    of(untouched, entry.use) += bytes - of_workspace;
  }
  return untouched;
}

void Ledger::look(Peak& peak) const noexcept {
  peak.untouched = untouched_now();
  peak.system_bytes = upstream_.system_bytes();
  if (is_host(device()) && peak.system_bytes > 0) {
    add_untouched(peak.untouched, peak.uses, minus(total(peak.uses) - total(peak.untouched), peak.system_bytes));
  }
}

void Ledger::reset_peak() {
  const std::lock_guard lock(mutex_);
  peak_.uses = live_;
  peak_bytes_ = total(live_);
  at_peak_ = true;
}

void Ledger::book(const Entry& entry, bool in) noexcept {
  if (!in && at_peak_) {
    look(peak_);
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
  made.pool_bytes = minus(reserved, used);
  if (is_host(ledger.device())) {
    size_t touched = 0;
    for (const std::span<const std::byte> segment : pool.segments()) touched += resident_bytes_of(segment);
    made.untouched_bytes = minus(reserved, touched);
    made.uses_untouched = ledger.untouched();
    const ProcessMemory process = process_memory();
    made.system_bytes = process.resident_bytes;
    made.library_bytes = std::min(process.file_bytes, process.resident_bytes);
  } else {
    made.system_bytes = pool.system_bytes();
    made.library_bytes = std::min(ledger.system_bytes_before(), minus(made.system_bytes, used + made.pool_bytes));
  }
  // A block's share of a page at its edge is counted as written where a neighbour wrote it: the segments decide.
  const size_t in_uses = total(made.uses_untouched);
  made.untouched_bytes = std::clamp(made.untouched_bytes, in_uses, used + made.pool_bytes);
  if (made.system_bytes == 0) return made;
  const size_t ours = used + made.pool_bytes - made.untouched_bytes + made.library_bytes;
  if (const size_t too_many = minus(ours, made.system_bytes); is_host(ledger.device()) && too_many > 0) {
    made.untouched_bytes += too_many;
    add_untouched(made.uses_untouched, made.uses, minus(too_many, made.pool_written_bytes()));
  }
  made.rest_bytes = minus(made.system_bytes, ours);
  return made;
}

}  // namespace elek
