// SPDX-License-Identifier: Apache-2.0
// The lab's table, and three runs that fail on purpose: out of memory, fragmentation, and a block that two streams use at the
// same time. They run the engine's own pool, limit and stream order with small numbers. Lesson: docs/memory.md
#include <array>
#include <cstring>

#include "cli/memory.h"
#include "core/error.h"
#include "core/memory/phantom.h"
#include "core/memory/queued_streams.h"
#include "elek/memory.h"

namespace elek::cli {
namespace {

constexpr size_t kMb = 1'000'000 / kAlignment * kAlignment;  // a megabyte that needs no rounding: 999,936 bytes

std::string mb(size_t bytes) { return decimal(static_cast<double>(bytes) / 1e6, 1) + " MB"; }

/// The pool as a line: a letter per megabyte in use, a dot per free one, a bar between segments.
std::string picture(const Pool& pool) {
  std::string line;
  int32_t segment = 0;
  for (const Pool::Region& r : pool.regions()) {
    if (r.segment != segment) line += "|";
    segment = r.segment;
    line += std::string((r.bytes + kMb / 2) / kMb, r.free ? '.' : r.label[0]);
  }
  return "[" + line + "]";
}

std::string state(const Pool& pool) {
  const Pool::Figures f = pool.figures();
  return picture(pool) + " in use " + mb(f.used_bytes) + ", free " + mb(f.free_bytes()) + ", largest hole " +
         mb(f.largest_hole_bytes) + ", external fragmentation " + percent(f.external_fragmentation(), 1);
}

Json figures_json(const Pool& pool) {
  const Pool::Figures f = pool.figures();
  return {{"used_bytes", f.used_bytes},
          {"free_bytes", f.free_bytes()},
          {"largest_hole_bytes", f.largest_hole_bytes},
          {"external_fragmentation", f.external_fragmentation()}};
}

}  // namespace

Json lab(const Output& output, const std::string& name, const Trace& trace) {
  Table table({name, "peak MB", "reserved MB", "waste", "upstream calls", "time us"});
  Json rows = Json::array();
  for (const Replay& r : replay_all(trace)) {
    table.add({std::string(name_of(r.strategy)), decimal(static_cast<double>(r.peak_live_bytes) / 1e6, 3),
               decimal(static_cast<double>(r.peak_reserved_bytes) / 1e6, 3), percent(r.waste(), 1),
               with_commas(r.upstream_calls), decimal(r.time_us, 0)});
    rows.push_back({{"strategy", name_of(r.strategy)},
                    {"peak_bytes", r.peak_live_bytes},
                    {"reserved_bytes", r.peak_reserved_bytes},
                    {"waste", r.waste()},
                    {"upstream_calls", r.upstream_calls},
                    {"time_us", r.time_us}});
  }
  output.result("\n" + table.text());
  return {{"trace", name}, {"blocks", trace.blocks.size()}, {"events", trace.events.size()}, {"rows", rows}};
}

Json show_out_of_memory(const Output& output) {
  Phantom host;
  Limit limit(host, 16 * kMb);
  Pool pool(limit, {.segment_bytes = kMb});
  void* weights = pool.allocate(6 * kMb, "weights");
  void* old_arena = pool.allocate(5 * kMb, "old arena");
  output.result("limit 16 MB, weights (w) and an arena (o)\n  " + state(pool) + "\n");
  pool.deallocate(old_arena, 5 * kMb);
  output.result("the arena is freed: the pool keeps its segment\n  " + state(pool) + "\n");
  void* arena = pool.allocate(9 * kMb, "arena");
  output.result("an arena of 9 MB (a) does not fit beside that segment: the pool gives it back and tries again\n  " +
                state(pool) + "\n");
  std::string message;
  OutOfMemory::Figures figures;
  try {
    (void)pool.allocate(2 * kMb, "layer4.1.conv2 workspace");
  } catch (const OutOfMemory& error) {
    message = error.what();
    figures = error.figures();
  }
  ELEK_CHECK(!message.empty(), "the lesson's last allocation should have failed");
  output.result("2 MB more do not fit, and the pool has no free segment to give back:\n  " + message + "\n");
  pool.deallocate(weights, 6 * kMb);
  pool.deallocate(arena, 9 * kMb);
  return {{"command", "memory"},
          {"show", "out-of-memory"},
          {"requested_bytes", figures.requested_bytes},
          {"in_use_bytes", figures.in_use_bytes},
          {"limit_bytes", figures.limit_bytes},
          {"largest_free_bytes", figures.largest_free_bytes}};
}

Json show_fragmentation(const Output& output) {
  Phantom host;
  Limit limit(host, 24 * kMb);
  Pool pool(limit, {.segment_bytes = 24 * kMb});
  std::array<void*, 12> blocks{};
  const std::string names = "abcdefghijkl";
  for (size_t i = 0; i < blocks.size(); ++i) blocks[i] = pool.allocate(2 * kMb, names.substr(i, 1));
  output.result("one segment of 24 MB, twelve blocks of 2 MB\n  " + state(pool) + "\n");
  for (size_t i = 0; i < blocks.size(); i += 2) pool.deallocate(blocks[i], 2 * kMb);
  output.result("every second block is freed: half of the bytes are free, in pieces\n  " + state(pool) + "\n");
  const Json pieces = figures_json(pool);
  bool refused = false;
  try {
    (void)pool.allocate(4 * kMb, "x");
  } catch (const OutOfMemory& error) {
    refused = true;
    output.result("4 MB, with 12 MB free:\n  " + std::string(error.what()) + "\n");
  }
  ELEK_CHECK(refused, "the lesson's allocation should have failed");
  pool.deallocate(blocks[1], 2 * kMb);
  void* x = pool.allocate(4 * kMb, "x");
  output.result("b is freed: a, b and c become one hole, and x fits into it\n  " + state(pool) + "\n");
  Json json = {{"command", "memory"}, {"show", "fragmentation"}, {"in_pieces", pieces}, {"after_joining", figures_json(pool)}};
  pool.deallocate(x, 4 * kMb);
  for (size_t i = 3; i < blocks.size(); i += 2) pool.deallocate(blocks[i], 2 * kMb);
  return json;
}

namespace {

/// Stream A writes sevens into a block and adds them up later. The owner of A gives the block back before that work has run,
/// and stream B asks for a block. Returns the sum that A finds in its 256 bytes: 1792 unless B has overwritten them.
int sum_found(StreamOrder& order, QueuedStreams& streams, bool& same_block) {
  std::array<char, 2> handles{};
  const Stream a{&handles[0]}, b{&handles[1]};
  Pool pool(host_resource(), {.segment_bytes = kAlignment}, order);
  int sum = 0;
  auto* x = static_cast<unsigned char*>(pool.allocate(kAlignment, "x", a));
  streams.enqueue(a, [x] { std::memset(x, 7, kAlignment); });
  streams.enqueue(a, [x, &sum] {
    for (size_t i = 0; i < kAlignment; ++i) sum += x[i];
  });
  pool.deallocate(x, kAlignment, a);
  auto* y = static_cast<unsigned char*>(pool.allocate(kAlignment, "y", b));
  streams.enqueue(b, [y] { std::memset(y, 1, kAlignment); });
  same_block = x == y;
  (void)streams.run_next(a);  // A writes its sevens,
  (void)streams.run_next(b);  // B writes its ones,
  (void)streams.run_next(a);  // A adds up
  pool.deallocate(y, kAlignment, b);
  return sum;
}

}  // namespace

Json show_stream_race(const Output& output) {
  Json runs = Json::array();
  Table table({"pool", "B's block", "A reads", "expected"});
  for (const bool careful : {false, true}) {
    QueuedStreams streams;
    bool same = false;
    const int sum = sum_found(careful ? static_cast<StreamOrder&>(streams) : host_order(), streams, same);
    table.add({careful ? "waits for A's event" : "ignores streams", same ? "A's" : "another", std::to_string(sum), "1792"});
    runs.push_back({{"careful", careful}, {"same_block", same}, {"sum", sum}, {"expected", 1792}});
  }
  output.result(table.text());
  return {{"command", "memory"}, {"show", "stream-race"}, {"runs", runs}};
}

}  // namespace elek::cli
