// SPDX-License-Identifier: Apache-2.0
// Traces, and their replay. The caching allocator follows the rules of PyTorch's c10/cuda/CUDACachingAllocator: round to 512
// bytes; up to 1 MB from segments of 2 MB, up to 10 MB from segments of 20 MB, above that multiples of 2 MB; best fit; split a
// block unless the rest of a large block is 1 MB or less. Tests: tests/unit/replay_test.cpp
#include "lab/replay.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>

#include "core/error.h"
#include "core/memory/phantom.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "plan/plan.h"

namespace elek {
namespace {

size_t rounded_up(size_t bytes, size_t unit) { return (bytes + unit - 1) / unit * unit; }

/// PyTorch's rules, on offsets.
class CachingModel {
 public:
  static constexpr size_t kRound = 512;
  static constexpr size_t kSmall = size_t{1} << 20;
  static constexpr size_t kSmallSegment = size_t{2} << 20;
  static constexpr size_t kLargeSegment = size_t{20} << 20;
  static constexpr size_t kOwnSegment = size_t{10} << 20;  // from this size on, a segment of its own
  static constexpr size_t kSegmentRound = size_t{2} << 20;

  /// Offset of a block of rounded(bytes).
  size_t allocate(size_t bytes) {
    const size_t size = rounded(bytes);
    const bool small = size <= kSmall;
    auto& free = free_[small ? 0 : 1];
    auto found = free.lower_bound({size, 0});
    if (found == free.end()) {
      const size_t segment = small ? kSmallSegment : size < kOwnSegment ? kLargeSegment : rounded_up(size, kSegmentRound);
      pieces_[reserved_] = {segment, reserved_, small, true};
      found = free.insert({segment, reserved_}).first;
      reserved_ += segment;
      ++calls_;
    }
    const size_t offset = found->second;
    free.erase(found);
    Piece& piece = pieces_[offset];
    const size_t left = piece.bytes - size;
    if (small ? left >= kRound : left > kSmall) {
      pieces_[offset + size] = {left, piece.segment, small, true};
      free.insert({left, offset + size});
      piece.bytes = size;
    }
    piece.free = false;
    return offset;
  }
  void deallocate(size_t offset) {
    auto piece = pieces_.find(offset);
    auto& free = free_[piece->second.small ? 0 : 1];
    const auto next = std::next(piece);
    if (next != pieces_.end() && next->second.free && next->second.segment == piece->second.segment) {
      free.erase({next->second.bytes, next->first});
      piece->second.bytes += next->second.bytes;
      pieces_.erase(next);
    }
    if (piece != pieces_.begin()) {
      const auto before = std::prev(piece);
      if (before->second.free && before->second.segment == piece->second.segment) {
        free.erase({before->second.bytes, before->first});
        before->second.bytes += piece->second.bytes;
        pieces_.erase(piece);
        piece = before;
      }
    }
    piece->second.free = true;
    free.insert({piece->second.bytes, piece->first});
  }
  [[nodiscard]] size_t bytes_at(size_t offset) const { return pieces_.at(offset).bytes; }
  [[nodiscard]] size_t reserved() const noexcept { return reserved_; }
  [[nodiscard]] int64_t calls() const noexcept { return calls_; }

 private:
  [[nodiscard]] static size_t rounded(size_t bytes) { return std::max(kRound, rounded_up(bytes, kRound)); }
  struct Piece {
    size_t bytes = 0;
    size_t segment = 0;
    bool small = false;
    bool free = false;
  };
  std::map<size_t, Piece> pieces_;               // by offset
  std::set<std::pair<size_t, size_t>> free_[2];  // size and offset, small and large
  size_t reserved_ = 0;
  int64_t calls_ = 0;
};

/// Runs `on_allocate(block)` and `on_free(block)` for the events, and measures the time.
template <typename A, typename F>
double timed_us(const Trace& trace, A&& on_allocate, F&& on_free) {
  const auto start = std::chrono::steady_clock::now();
  for (const Trace::Event& event : trace.events) {
    const auto block = static_cast<size_t>(event.block);
    event.allocation ? on_allocate(block) : on_free(block);
  }
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

/// Runs the events and checks the trace.
size_t peak_live(const Trace& trace) {
  size_t live = 0, peak = 0;
  std::vector<bool> alive(trace.blocks.size(), false);
  for (const Trace::Event& event : trace.events) {
    ELEK_CHECK(event.block >= 0 && static_cast<size_t>(event.block) < trace.blocks.size(), "an event of an unknown block");
    const auto block = static_cast<size_t>(event.block);
    ELEK_CHECK(alive[block] != event.allocation, "'" + trace.blocks[block].label + "' is allocated twice or freed twice");
    alive[block] = event.allocation;
    const size_t bytes = rounded_up(trace.blocks[block].bytes, kAlignment);
    live = event.allocation ? live + bytes : live - bytes;
    peak = std::max(peak, live);
  }
  return peak;
}

void replay_separate(const Trace& trace, Replay& result) {
  size_t end = 0;
  result.time_us = timed_us(
      trace,
      [&](size_t block) {
        result.offsets[block] = end;
        result.bytes[block] = rounded_up(trace.blocks[block].bytes, kAlignment);
        end += result.bytes[block];
        ++result.upstream_calls;
      },
      [](size_t) {});
  result.peak_reserved_bytes = end;
}

/// Reserved bytes: what malloc holds for the trace, with its holes. The heap's growth counts whole, as malloc gives only its
/// upper end back. Blocks in holes that the heap had before count by themselves, and so do blocks with a mapping of their own.
/// The measurement assumes that nothing else allocates meanwhile.
void replay_malloc(const Trace& trace, Replay& result) {
  constexpr size_t kHeader = 16, kPage = 4096;
  std::vector<void*> blocks(trace.blocks.size(), nullptr);
  const auto heap_end = [] { return reinterpret_cast<uintptr_t>(sbrk(0)); };
  const uintptr_t start = heap_end();
  size_t old_holes = 0, old_holes_peak = 0, mapped = 0;
  /// Adds to (or takes from) the sum of the kind of place that the block lies in.
  const auto count = [&](void* block, bool added) {
    const auto at = reinterpret_cast<uintptr_t>(block);
    const size_t held = malloc_usable_size(block) + kHeader;
    if (at >= start && at < heap_end()) return;                             // part of the heap's growth
    const bool in_heap = at < start && start - at < (uintptr_t{1} << 36U);  // mappings lie far above the heap
    size_t& sum = in_heap ? old_holes : mapped;
    const size_t bytes = in_heap ? held : rounded_up(held, kPage);
    sum = added ? sum + bytes : sum - bytes;
    old_holes_peak = std::max(old_holes_peak, old_holes);
  };
  result.time_us = timed_us(
      trace,
      [&](size_t block) {
        blocks[block] = std::malloc(std::max<size_t>(1, trace.blocks[block].bytes));
        ELEK_CHECK(blocks[block] != nullptr, "malloc has no memory for '" + trace.blocks[block].label + "'");
        count(blocks[block], true);
        const uintptr_t end = heap_end();
        const size_t reserved = (end > start ? end - start : 0) + old_holes_peak + mapped;
        result.peak_reserved_bytes = std::max(result.peak_reserved_bytes, reserved);
        ++result.upstream_calls;
      },
      [&](size_t block) {
        count(blocks[block], false);
        std::free(blocks[block]);
        blocks[block] = nullptr;
        ++result.upstream_calls;
      });
  for (void* block : blocks) std::free(block);
  result.offsets.clear();
  result.bytes.clear();
}

/// One range that grows at its end, with a list of holes: the allocator of textbooks.
class FitModel {
 public:
  explicit FitModel(bool best) : best_(best) {}
  size_t allocate(size_t bytes) {
    auto found = holes_.end();
    for (auto hole = holes_.begin(); hole != holes_.end(); ++hole) {
      if (hole->second < bytes || (found != holes_.end() && hole->second >= found->second)) continue;
      found = hole;
      if (!best_) break;
    }
    if (found == holes_.end()) {  // the range grows; a hole at its end is used
      size_t at = end_;
      if (!holes_.empty() && std::prev(holes_.end())->first + std::prev(holes_.end())->second == end_) {
        at = std::prev(holes_.end())->first;
        holes_.erase(std::prev(holes_.end()));
      }
      end_ = at + bytes;
      return at;
    }
    const auto [at, size] = *found;
    holes_.erase(found);
    if (size > bytes) holes_[at + bytes] = size - bytes;
    return at;
  }
  void deallocate(size_t at, size_t bytes) {
    const auto next = holes_.lower_bound(at);
    if (next != holes_.end() && next->first == at + bytes) {
      bytes += next->second;
      holes_.erase(next);
    }
    const auto after = holes_.lower_bound(at);
    if (after != holes_.begin() && std::prev(after)->first + std::prev(after)->second == at) {
      std::prev(after)->second += bytes;
    } else {
      holes_[at] = bytes;
    }
  }
  [[nodiscard]] size_t end() const noexcept { return end_; }  // the range never shrinks

 private:
  bool best_;
  std::map<size_t, size_t> holes_;  // offset and bytes
  size_t end_ = 0;
};

void replay_fit(const Trace& trace, bool best, Replay& result) {
  FitModel model(best);
  result.time_us = timed_us(
      trace,
      [&](size_t block) {
        result.bytes[block] = std::max(kAlignment, rounded_up(trace.blocks[block].bytes, kAlignment));
        const size_t before = model.end();
        result.offsets[block] = model.allocate(result.bytes[block]);
        if (model.end() > before) ++result.upstream_calls;
      },
      [&](size_t block) { model.deallocate(result.offsets[block], result.bytes[block]); });
  result.peak_reserved_bytes = model.end();
}

void replay_caching(const Trace& trace, Replay& result) {
  CachingModel model;
  result.time_us = timed_us(
      trace,
      [&](size_t block) {
        result.offsets[block] = model.allocate(trace.blocks[block].bytes);
        result.bytes[block] = model.bytes_at(result.offsets[block]);
      },
      [&](size_t block) { model.deallocate(result.offsets[block]); });
  result.peak_reserved_bytes = model.reserved();
  result.upstream_calls = model.calls();
}

void replay_pool(const Trace& trace, Replay& result) {
  Phantom upstream;
  Pool pool(upstream);
  std::vector<void*> blocks(trace.blocks.size(), nullptr);
  result.time_us = timed_us(
      trace, [&](size_t block) { blocks[block] = pool.allocate(trace.blocks[block].bytes, trace.blocks[block].label); },
      [&](size_t block) { pool.deallocate(blocks[block], trace.blocks[block].bytes); });
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i] == nullptr) continue;
    result.offsets[i] = Phantom::offset_of(blocks[i]);
    result.bytes[i] = rounded_up(trace.blocks[i].bytes, kAlignment);
  }
  result.peak_reserved_bytes = pool.figures().peak_reserved_bytes;
  result.upstream_calls = pool.figures().upstream_allocations;
  std::vector<bool> alive(trace.blocks.size(), false);
  for (const Trace::Event& event : trace.events) alive[static_cast<size_t>(event.block)] = event.allocation;
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (alive[i]) pool.deallocate(blocks[i], trace.blocks[i].bytes);  // otherwise the pool would report leaks
  }
}

void replay_arena(const Trace& trace, Replay& result) {
  Program program;
  program.steps.resize(trace.steps.size());
  for (const Trace::Block& block : trace.blocks) {
    program.storages.push_back({block.label, block.bytes, block.first_step, block.last_step});
  }
  const auto start = std::chrono::steady_clock::now();
  const MemoryPlan made = plan(program);
  result.time_us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  result.offsets = made.storage_offsets;
  for (size_t i = 0; i < trace.blocks.size(); ++i) result.bytes[i] = rounded_up(trace.blocks[i].bytes, kAlignment);
  result.peak_reserved_bytes = made.arena_bytes;
  result.upstream_calls = 1;
}

}  // namespace

Trace trace_of(const Program& program, bool workspace) {
  Trace trace;
  const size_t steps = program.steps.size();
  // A tensor has the name of the step that writes it, as `profile` and `info` call that step; the value's name is a detail.
  std::vector<std::string> writer(program.tensors.size());
  for (size_t step = 0; step < steps; ++step) {
    const ProgramStep& s = program.steps[step];
    const std::string value = s.output >= 0 ? program.tensors[static_cast<size_t>(s.output)].name : std::string();
    trace.steps.push_back(s.node.node.name.empty() ? value : s.node.node.name);
    if (s.output >= 0) writer[static_cast<size_t>(s.output)] = trace.steps.back();
  }
  for (size_t i = 0; i < program.storages.size(); ++i) {
    const Storage& s = program.storages[i];
    Trace::Block block{s.name, "", s.bytes, s.first_step, s.last_step, false};
    std::string first, last;
    for (size_t k = 0; k < program.tensors.size(); ++k) {
      const ProgramTensor& t = program.tensors[k];
      if (t.storage != static_cast<int32_t>(i)) continue;
      block.detail += (block.detail.empty() ? "" : ", ") + t.name;
      last = writer[k].empty() ? t.name : writer[k];
      if (first.empty()) first = last;
    }
    if (!first.empty()) block.label = first;
    if (last != first) block.label += " .. " + last;
    trace.blocks.push_back(std::move(block));
  }
  for (size_t step = 0; workspace && step < steps; ++step) {
    const size_t bytes = program.steps[step].workspace_bytes;
    if (bytes == 0) continue;
    const auto now = static_cast<int32_t>(step);
    const std::string name = "workspace of " + trace.steps[step];
    trace.blocks.push_back({name, name, bytes, now, now, true});
  }
  schedule(trace);
  return trace;
}

void schedule(Trace& trace) {
  std::vector<std::vector<int32_t>> begin(trace.steps.size()), end(trace.steps.size());
  for (size_t i = 0; i < trace.blocks.size(); ++i) {
    const Trace::Block& block = trace.blocks[i];
    if (block.bytes == 0) continue;
    begin.at(static_cast<size_t>(block.first_step)).push_back(static_cast<int32_t>(i));
    end.at(static_cast<size_t>(block.last_step)).push_back(static_cast<int32_t>(i));
  }
  trace.events.clear();
  for (size_t step = 0; step < trace.steps.size(); ++step) {
    for (const int32_t block : begin[step]) trace.events.push_back({true, block});
    for (const int32_t block : end[step]) trace.events.push_back({false, block});
  }
}

std::vector<size_t> alive_at_steps(const Trace& trace) {
  std::vector<size_t> sums(trace.steps.size() + 1, 0);  // changes first; unsigned sums wrap and come back
  for (const Trace::Block& b : trace.blocks) {
    sums[static_cast<size_t>(b.first_step)] += rounded_up(b.bytes, kAlignment);
    sums[static_cast<size_t>(b.last_step) + 1] -= rounded_up(b.bytes, kAlignment);
  }
  for (size_t step = 1; step < sums.size(); ++step) sums[step] += sums[step - 1];
  sums.pop_back();
  return sums;
}

Trace trace_of(std::span<const Tracker::Event> events) {
  Trace trace;
  std::map<uint64_t, int32_t> live;
  const auto last = static_cast<int32_t>(events.size()) - 1;
  for (int32_t now = 0; now <= last; ++now) {
    const Tracker::Event& event = events[static_cast<size_t>(now)];
    trace.steps.push_back(event.label);
    if (event.allocation) {
      live[event.block] = static_cast<int32_t>(trace.blocks.size());
      trace.events.push_back({true, live[event.block]});
      trace.blocks.push_back({event.label, event.label, event.bytes, now, last, false});
    } else if (const auto found = live.find(event.block); found != live.end()) {  // else from before the recording
      trace.blocks[static_cast<size_t>(found->second)].last_step = now;
      trace.events.push_back({false, found->second});
      live.erase(found);
    }
  }
  return trace;
}

Trace random_trace(uint64_t seed, int64_t events, int64_t live) {
  Random random(seed);
  Trace trace;
  std::vector<int32_t> alive;
  for (int32_t now = 0; now < events; ++now) {
    trace.steps.emplace_back();
    const bool full = static_cast<int64_t>(alive.size()) >= live;
    if (alive.empty() || (!full && random.below(2) == 0)) {
      const uint64_t most = uint64_t{1} << (4 + random.below(20));  // 16 B … 8 MB, every power of two equally often
      alive.push_back(static_cast<int32_t>(trace.blocks.size()));
      trace.events.push_back({true, alive.back()});
      trace.blocks.push_back({"random", "random", 1 + random.below(most), now, static_cast<int32_t>(events) - 1, false});
    } else {
      std::swap(alive[random.below(alive.size())], alive.back());
      trace.blocks[static_cast<size_t>(alive.back())].last_step = now;
      trace.events.push_back({false, alive.back()});
      alive.pop_back();
    }
  }
  return trace;
}

std::string_view name_of(Strategy strategy) {
  switch (strategy) {
    case Strategy::kSeparate:
      return "naive";
    case Strategy::kMalloc:
      return "malloc";
    case Strategy::kCaching:
      return "caching";
    case Strategy::kPool:
      return "pool";
    case Strategy::kFirstFit:
      return "first fit";
    case Strategy::kBestFit:
      return "best fit";
    case Strategy::kArena:
      return "arena";
    case Strategy::kGiven:
      return "yours";
  }
  return "?";
}

std::string_view title_of(Strategy strategy) {
  switch (strategy) {
    case Strategy::kSeparate:
      return "Naive, no reuse";
    case Strategy::kCaching:
      return "Caching, by PyTorch's rules";
    case Strategy::kPool:
      return "Pool";
    case Strategy::kArena:
      return "Arena, planned before the run";
    case Strategy::kFirstFit:
      return "First fit";
    case Strategy::kBestFit:
      return "Best fit";
    case Strategy::kMalloc:
      return "malloc";
    case Strategy::kGiven:
      return "Your placement";
  }
  return "?";
}

double Replay::waste() const noexcept {
  return peak_reserved_bytes <= peak_live_bytes
             ? 0.0
             : 1.0 - static_cast<double>(peak_live_bytes) / static_cast<double>(peak_reserved_bytes);
}

Replay replay(const Trace& trace, Strategy strategy) {
  Replay result;
  result.strategy = strategy;
  result.peak_live_bytes = peak_live(trace);
  result.offsets.assign(trace.blocks.size(), 0);
  result.bytes.assign(trace.blocks.size(), 0);
  switch (strategy) {
    case Strategy::kSeparate:
      replay_separate(trace, result);
      break;
    case Strategy::kMalloc:
      replay_malloc(trace, result);
      break;
    case Strategy::kCaching:
      replay_caching(trace, result);
      break;
    case Strategy::kPool:
      replay_pool(trace, result);
      break;
    case Strategy::kFirstFit:
    case Strategy::kBestFit:
      replay_fit(trace, strategy == Strategy::kBestFit, result);
      break;
    case Strategy::kArena:
      replay_arena(trace, result);
      break;
    case Strategy::kGiven:
      ELEK_CHECK(false, "a given placement is judged by placed()");
  }
  return result;
}

std::vector<Replay> replay_all(const Trace& trace) {
  std::vector<Replay> made;
  for (const Strategy s : {Strategy::kSeparate, Strategy::kMalloc, Strategy::kCaching, Strategy::kPool, Strategy::kFirstFit,
                           Strategy::kBestFit, Strategy::kArena}) {
    if (s != Strategy::kArena || trace.blocks.size() <= kMostForThePlan) made.push_back(replay(trace, s));
  }
  return made;
}

Placement placed(const Trace& trace, std::vector<size_t> offsets) {
  ELEK_CHECK(offsets.size() == trace.blocks.size(),
             std::to_string(offsets.size()) + " offsets for " + std::to_string(trace.blocks.size()) + " blocks");
  Placement made;
  const auto problem = [&](const std::string& words) {
    if (++made.problem_count <= 10) made.problems.push_back(words);
  };
  Replay& r = made.replay;
  r.strategy = Strategy::kGiven;
  r.peak_live_bytes = peak_live(trace);
  r.upstream_calls = 1;
  r.bytes.resize(offsets.size());
  for (size_t i = 0; i < offsets.size(); ++i) {
    const Trace::Block& block = trace.blocks[i];
    r.bytes[i] = rounded_up(block.bytes, kAlignment);
    r.peak_reserved_bytes = std::max(r.peak_reserved_bytes, offsets[i] + r.bytes[i]);
    if (offsets[i] % kAlignment != 0) {
      problem("'" + block.label + "' at " + std::to_string(offsets[i]) + ": not a multiple of " + std::to_string(kAlignment));
    }
  }
  // The blocks that are alive, by offset: only neighbours need a look, as long as no two of them overlap.
  std::map<size_t, size_t> alive;
  for (const Trace::Event& event : trace.events) {
    const auto i = static_cast<size_t>(event.block);
    const auto own = alive.find(offsets[i]);
    if (!event.allocation) {
      if (own != alive.end() && own->second == i) alive.erase(own);
      continue;
    }
    const auto overlap = [&](size_t other) {
      problem("'" + trace.blocks[i].label + "' (" + std::to_string(offsets[i]) + " to " +
              std::to_string(offsets[i] + r.bytes[i]) + ") overlaps '" + trace.blocks[other].label + "' (" +
              std::to_string(offsets[other]) + " to " + std::to_string(offsets[other] + r.bytes[other]) +
              "), and both are alive at step " + std::to_string(trace.blocks[i].first_step + 1));
    };
    const auto next = alive.lower_bound(offsets[i]);
    if (next != alive.end() && next->first < offsets[i] + r.bytes[i]) overlap(next->second);
    if (next != alive.begin()) {
      const size_t before = std::prev(next)->second;
      if (offsets[before] + r.bytes[before] > offsets[i]) overlap(before);
    }
    alive[offsets[i]] = i;
  }
  r.offsets = std::move(offsets);
  return made;
}

}  // namespace elek
