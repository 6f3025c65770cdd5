// SPDX-License-Identifier: Apache-2.0
// The allocator lab: records the allocations of a run as a trace and replays it through several allocation strategies. It works
// on addresses only and touches no tensor memory. It shows what each strategy reserves and wastes, how often it asks its
// upstream, and where it puts every tensor.
// Tests: tests/unit/replay_test.cpp · Lesson: docs/memory.md
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "elek/memory.h"
#include "plan/program.h"

namespace elek {

/// Blocks, and the order in which they are allocated and freed. An event's step is its time on a map.
struct Trace {
  struct Block {
    std::string label;
    std::string detail;  // all values that lie in it, shown on hover
    size_t bytes = 0;
    int32_t first_step = 0;
    int32_t last_step = 0;
    bool workspace = false;
  };
  struct Event {
    bool allocation = false;
    int32_t block = -1;
  };
  std::vector<Block> blocks;
  std::vector<Event> events;
  std::vector<std::string> steps;  // what each step computes
};
/// Bytes alive at each step, each block rounded up to kAlignment.
[[nodiscard]] std::vector<size_t> alive_at_steps(const Trace& trace);

/// The trace of a program if each of its storages and workspaces were allocated when it is first written and freed after it was
/// last read. Without workspace: the activations alone.
[[nodiscard]] Trace trace_of(const Program& program, bool workspace = true);
/// Fills in the events from the first and last steps of the blocks: at each step first what begins, then what ends.
void schedule(Trace& trace);
/// The trace that a Tracker recorded. Blocks that were never given back live to the end. A step is an event.
[[nodiscard]] Trace trace_of(std::span<const Tracker::Event> events);
/// `events` allocations and frees of 1 byte to 8 MB (small ones more often), up to `live` blocks alive; seeded.
[[nodiscard]] Trace random_trace(uint64_t seed, int64_t events, int64_t live);

enum class Strategy : uint8_t {
  kSeparate,  // every tensor has its own place to the end: the naive way
  kMalloc,    // the C library's malloc and free
  kCaching,   // a model of PyTorch's caching allocator: 512-byte rounding, segments of 2 MB and 20 MB
  kPool,      // our Pool
  kFirstFit,  // one growing range; the lowest hole that is large enough
  kBestFit,   // one growing range; the smallest hole that is large enough
  kArena,     // our plan: all lifetimes known beforehand
  kGiven,     // offsets that somebody chose: see placed()
};
[[nodiscard]] std::string_view name_of(Strategy strategy);   // one word
[[nodiscard]] std::string_view title_of(Strategy strategy);  // for people

struct Replay {
  Strategy strategy = Strategy::kSeparate;
  size_t peak_live_bytes = 0;      // as requested, aligned to kAlignment: the lower bound of the trace
  size_t peak_reserved_bytes = 0;  // from the upstream
  int64_t upstream_calls = 0;
  double time_us = 0;  // of all events of one replay (kArena: of planning)
  /// Offset and bytes of each block, with the segments one after the other; empty for kMalloc, whose addresses are not
  /// comparable.
  std::vector<size_t> offsets;
  std::vector<size_t> bytes;
  /// Share of the reserved bytes that the trace does not need at its peak.
  [[nodiscard]] double waste() const noexcept;
};
/// The allocators of the lab's table, in its order. The plan is left out above kMostForThePlan blocks.
[[nodiscard]] std::vector<Replay> replay_all(const Trace& trace);
inline constexpr size_t kMostForThePlan = 5000;  // its cost grows with the square

/// A placement by hand, judged.
struct Placement {
  Replay replay;                      // its peak is the end of the highest block
  std::vector<std::string> problems;  // overlaps and offsets that are not multiples of kAlignment, the first ten
  int64_t problem_count = 0;
};
/// ContractError unless there is one offset for each block.
[[nodiscard]] Placement placed(const Trace& trace, std::vector<size_t> offsets);

/// ContractError if the trace frees a block that is not alive, or for kGiven.
[[nodiscard]] Replay replay(const Trace& trace, Strategy strategy);

}  // namespace elek
