// SPDX-License-Identifier: Apache-2.0
// What Pool promises beyond MemoryResource: best fit, coalescing, no upstream call in steady state, trimming, figures, its
// message when memory runs out, and the reuse rule between streams (with streams simulated on the host). The tests that every
// resource passes: memory_resource_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "core/error.h"
#include "core/memory/queued_streams.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "tests/support/faulty.h"

namespace elek {
namespace {

using test::Faulty;

constexpr size_t kUnit = kAlignment;

PoolOptions segments_of(size_t bytes) {
  PoolOptions options;
  options.segment_bytes = bytes;
  return options;
}

/// Empty if the regions cover their segments, neighbouring free regions of one kind are joined, and the figures match the
/// regions.
std::string defect(const Pool& pool) {
  const std::vector<Pool::Region> regions = pool.regions();
  const Pool::Figures figures = pool.figures();
  size_t used = 0, free = 0, largest = 0;
  for (size_t i = 0; i < regions.size(); ++i) {
    const Pool::Region& r = regions[i];
    const bool first = i == 0 || regions[i - 1].segment != r.segment;
    if (r.bytes == 0 || r.bytes % kUnit != 0 || r.offset % kUnit != 0) return "region " + std::to_string(i) + " is misaligned";
    if (r.offset != (first ? 0 : regions[i - 1].offset + regions[i - 1].bytes))
      return "a gap before region " + std::to_string(i);
    if (!first && r.free && regions[i - 1].free && !r.waiting && !regions[i - 1].waiting) return "two free neighbours";
    (r.free ? free : used) += r.bytes;
    if (r.free) largest = std::max(largest, r.bytes);
  }
  if (used != figures.used_bytes) return "used " + std::to_string(used) + ", figures " + std::to_string(figures.used_bytes);
  if (free != figures.free_bytes()) return "free " + std::to_string(free) + ", figures " + std::to_string(figures.free_bytes());
  if (largest != figures.largest_hole_bytes) return "largest hole " + std::to_string(figures.largest_hole_bytes);
  return "";
}

struct Held {
  void* data = nullptr;
  size_t bytes = 0;
  Stream stream;
};

TEST(Pool, FreedNeighboursBecomeOneInEveryOrder) {
  std::vector<size_t> order{0, 1, 2, 3};
  do {
    Faulty upstream;
    Pool pool(upstream, segments_of(16 * kUnit));
    std::vector<void*> blocks;
    for (size_t i = 0; i < 4; ++i) blocks.push_back(pool.allocate(4 * kUnit, "block"));
    for (const size_t i : order) {
      pool.deallocate(blocks[i], 4 * kUnit);
      ASSERT_EQ(defect(pool), "");
    }
    EXPECT_EQ(pool.figures().largest_hole_bytes, 16 * kUnit);
    EXPECT_EQ(pool.regions().size(), 1U);
    EXPECT_EQ(upstream.allocations(), 1);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Pool, TakesTheSmallestHoleThatFits) {
  Faulty upstream;
  Pool pool(upstream, segments_of(100 * kUnit));
  std::vector<Held> held;
  for (const size_t units : {7, 1, 3, 1, 5, 1, 20}) held.push_back({pool.allocate(units * kUnit, "x"), units * kUnit, {}});
  for (const size_t i : {0, 2, 4, 6}) pool.deallocate(held[i].data, held[i].bytes);
  const std::pair<size_t, size_t> wanted[] = {{4, 4}, {2, 2}, {7, 0}};  // units, and whose place they take
  for (const auto& [units, place] : wanted) {
    void* block = pool.allocate(units * kUnit, "x");
    EXPECT_EQ(block, held[place].data) << units << " units";
    held[place] = {block, units * kUnit, {}};
  }
  EXPECT_EQ(defect(pool), "");
  for (const size_t i : {0, 1, 2, 3, 4, 5}) pool.deallocate(held[i].data, held[i].bytes);
  EXPECT_EQ(pool.figures().largest_hole_bytes, 100 * kUnit);
}

/// Random blocks compared with this test's own bookkeeping: the smallest hole is taken, nothing overlaps, patterns stay.
TEST(Pool, RandomBlocksNeverOverlapAndFitBest) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Faulty upstream;
    Pool pool(upstream, segments_of(400 * kUnit));
    Random random(seed);
    std::map<unsigned char*, std::pair<size_t, int>> live;
    for (int step = 0; step < 600; ++step) {
      if (live.empty() || random.below(5) < 3) {
        const size_t bytes = 1 + random.below(random.below(10) == 0 ? 100'000 : 6'000);
        const size_t rounded = (bytes + kUnit - 1) / kUnit * kUnit;
        size_t smallest = 0;
        for (const Pool::Region& r : pool.regions()) {
          if (r.free && r.bytes >= rounded && (smallest == 0 || r.bytes < smallest)) smallest = r.bytes;
        }
        const size_t free_before = pool.figures().free_bytes();
        const int64_t calls = pool.figures().upstream_allocations;
        auto* block = static_cast<unsigned char*>(pool.allocate(bytes, "x"));
        if (smallest > 0) {
          ASSERT_EQ(pool.figures().upstream_allocations, calls) << "a hole was there; seed " << seed << " step " << step;
          ASSERT_EQ(pool.figures().free_bytes(), free_before - rounded);
          const auto regions = pool.regions();  // the hole is gone, what is left of it is smaller than itself by `rounded`
          const bool exact = smallest == rounded;
          const bool left = std::any_of(regions.begin(), regions.end(),
                                        [&](const Pool::Region& r) { return r.free && r.bytes == smallest - rounded; });
          ASSERT_TRUE(exact || left) << "not the smallest hole; seed " << seed << " step " << step;
        }
        const auto next = live.lower_bound(block);
        ASSERT_TRUE(next == live.end() || block + rounded <= next->first);
        ASSERT_TRUE(next == live.begin() || std::prev(next)->first + std::prev(next)->second.first <= block);
        std::memset(block, step & 0xFF, bytes);
        live[block] = {bytes, step & 0xFF};
      } else {
        auto chosen = live.begin();
        std::advance(chosen, static_cast<std::ptrdiff_t>(random.below(live.size())));
        const auto [block, entry] = *chosen;
        const auto [bytes, pattern] = entry;
        ASSERT_TRUE(std::all_of(block, block + bytes, [p = pattern](unsigned char byte) { return byte == p; }));
        pool.deallocate(block, bytes);
        live.erase(chosen);
      }
      size_t asked = 0;
      for (const auto& [block, entry] : live) asked += entry.first;
      ASSERT_EQ(pool.figures().live_bytes, asked);
      ASSERT_EQ(defect(pool), "") << "seed " << seed << " step " << step;
    }
    for (const auto& [block, entry] : live) pool.deallocate(block, entry.first);
    EXPECT_EQ(pool.trim(), pool.figures().peak_reserved_bytes);
    EXPECT_EQ(upstream.in_use_bytes(), 0U) << upstream.leaks();
  }
}

TEST(Pool, AsksNothingUpstreamOnceItIsWarm) {
  Faulty upstream;
  Pool pool(upstream);
  const auto round = [&] {
    std::vector<Held> held;
    for (const size_t bytes : {1000UL, 3'000'000UL, 700'000UL, 5UL, 9'000'000UL, 64UL}) {
      held.push_back({pool.allocate(bytes, "tensor"), bytes, {}});
    }
    std::reverse(held.begin() + 1, held.begin() + 4);
    for (const Held& h : held) pool.deallocate(h.data, h.bytes);
  };
  round();
  const int64_t calls = upstream.allocations();
  for (int i = 0; i < 50; ++i) round();
  EXPECT_EQ(upstream.allocations(), calls);
  EXPECT_EQ(pool.figures().upstream_deallocations, 0);
}

TEST(Pool, TheSameCallsGiveTheSameBlocks) {
  const auto play = [](Pool& pool) {
    Random random(3);
    std::vector<Held> held;
    for (int i = 0; i < 500; ++i) {
      if (held.empty() || random.below(2) == 0) {
        const size_t bytes = 1 + random.below(50'000);
        held.push_back({pool.allocate(bytes, "x"), bytes, {}});
      } else {
        std::swap(held[random.below(held.size())], held.back());
        pool.deallocate(held.back().data, held.back().bytes);
        held.pop_back();
      }
    }
    std::string layout;
    for (const auto& r : pool.regions())
      layout += std::to_string(r.segment) + ":" + std::to_string(r.offset) + (r.free ? "f " : "u ");
    for (const Held& h : held) pool.deallocate(h.data, h.bytes);
    return layout;
  };
  Faulty a, b;
  Pool first(a, segments_of(100'000)), second(b, segments_of(100'000));
  void* shift = host_resource().allocate(123'456, "other addresses");
  EXPECT_EQ(play(first), play(second));
  host_resource().deallocate(shift, 123'456);
}

TEST(Pool, FiguresSayWhatIsLostInsideAndBetweenBlocks) {
  Faulty upstream;
  Pool pool(upstream, segments_of(10 * kUnit));
  EXPECT_EQ(pool.figures().internal_fragmentation(), 0.0);
  EXPECT_EQ(pool.figures().external_fragmentation(), 0.0);
  void* a = pool.allocate(1, "a");
  void* b = pool.allocate(4 * kUnit, "b");
  void* c = pool.allocate(2 * kUnit, "c");
  pool.deallocate(b, 4 * kUnit);
  const Pool::Figures f = pool.figures();  // used: 1 + 2 units; free: 4 and 3 units
  EXPECT_EQ(f.live_bytes, 1 + 2 * kUnit);
  EXPECT_EQ(f.used_bytes, 3 * kUnit);
  EXPECT_EQ(f.reserved_bytes, 10 * kUnit);
  EXPECT_EQ(f.largest_hole_bytes, 4 * kUnit);
  EXPECT_EQ(f.peak_live_bytes, 1 + 6 * kUnit);
  EXPECT_DOUBLE_EQ(f.internal_fragmentation(), 255.0 / (3.0 * kUnit));
  EXPECT_DOUBLE_EQ(f.external_fragmentation(), 3.0 / 7.0);
  EXPECT_EQ(pool.leaks(), "a (1 bytes) c (512 bytes) ");
  pool.deallocate(a, 1);
  pool.deallocate(c, 2 * kUnit);
}

TEST(Pool, TrimGivesBackWhatIsWhollyFree) {
  Faulty upstream;
  Pool pool(upstream, segments_of(10 * kUnit));
  void* a = pool.allocate(20 * kUnit, "a");
  void* b = pool.allocate(kUnit, "b");
  pool.deallocate(a, 20 * kUnit);
  EXPECT_EQ(pool.trim(), 20 * kUnit);
  EXPECT_EQ(pool.trim(), 0U);
  EXPECT_EQ(upstream.in_use_bytes(), 10 * kUnit);
  pool.deallocate(b, kUnit);
  EXPECT_EQ(pool.trim(), 10 * kUnit);
  EXPECT_EQ(pool.figures().reserved_bytes, 0U);
  void* c = pool.allocate(kUnit, "c");  // and works on
  EXPECT_NE(c, nullptr);
  pool.deallocate(c, kUnit);
  EXPECT_EQ(defect(pool), "");
}

TEST(Pool, KeepsNoMoreFreeSegmentsThanItMay) {
  Faulty upstream;
  PoolOptions options = segments_of(kUnit);
  options.keep_bytes = 10 * kUnit;
  Pool pool(upstream, options);
  void* a = pool.allocate(8 * kUnit, "a");
  void* b = pool.allocate(5 * kUnit, "b");
  void* c = pool.allocate(11 * kUnit, "c");
  pool.deallocate(a, 8 * kUnit);
  EXPECT_EQ(upstream.in_use_bytes(), 24 * kUnit) << "eight may stay";
  pool.deallocate(b, 5 * kUnit);
  EXPECT_EQ(upstream.in_use_bytes(), 19 * kUnit) << "thirteen may not: the last one goes";
  pool.deallocate(c, 11 * kUnit);
  EXPECT_EQ(upstream.in_use_bytes(), 8 * kUnit);
}

TEST(Pool, TrimsAndTriesAgainBeforeItGivesUp) {
  Faulty upstream;
  Limit limit(upstream, 100 * kUnit);
  Pool pool(limit, segments_of(kUnit));
  void* a = pool.allocate(60 * kUnit, "a");
  void* b = pool.allocate(10 * kUnit, "b");
  pool.deallocate(a, 60 * kUnit);
  void* c = pool.allocate(90 * kUnit, "c");  // fits only once the sixty are back
  EXPECT_EQ(limit.live_bytes(), 100 * kUnit);
  pool.deallocate(b, 10 * kUnit);
  try {
    (void)pool.allocate(30 * kUnit + 1, "layer4.1.conv2");
    FAIL() << "thirty-one units in ten";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.figures().requested_bytes, 30 * kUnit + 1);
    EXPECT_EQ(error.figures().in_use_bytes, 90 * kUnit);
    EXPECT_EQ(error.figures().limit_bytes, 100 * kUnit);
    EXPECT_EQ(error.figures().largest_free_bytes, 10 * kUnit) << "what the limit leaves once the ten are given back";
    EXPECT_THAT(error.what(), ::testing::HasSubstr("layer4.1.conv2"));
    EXPECT_THAT(error.what(), ::testing::HasSubstr("largest free block 2,560 bytes"));
  }
  EXPECT_EQ(defect(pool), "");
  void* d = pool.allocate(10 * kUnit, "d");  // a block of the size that the message named does fit
  pool.deallocate(c, 90 * kUnit);
  pool.deallocate(d, 10 * kUnit);
  EXPECT_EQ(upstream.misuse(), std::vector<std::string>{});
}

TEST(Pool, AsksForNoMoreThanNeededWhenASegmentIsTooMuch) {
  Faulty upstream;
  Limit limit(upstream, 5 * kUnit);
  Pool pool(limit, segments_of(100 * kUnit));
  void* a = pool.allocate(4 * kUnit, "a");
  EXPECT_EQ(pool.figures().reserved_bytes, 4 * kUnit);
  pool.deallocate(a, 4 * kUnit);
}

TEST(Pool, SaysWhenABlockIsGivenBackWrongly) {
  Faulty upstream;
  Pool pool(upstream);
  void* a = pool.allocate(100, "a");
  int other = 0;
  const int64_t warnings = warnings_so_far();
  pool.deallocate(&other, 100);
  EXPECT_EQ(pool.figures().misuses, 1);
  pool.deallocate(a, 99);
  EXPECT_EQ(pool.figures().misuses, 2);
  pool.deallocate(a, 100);
  EXPECT_EQ(pool.figures().misuses, 3);
  EXPECT_EQ(warnings_so_far(), warnings + 3);
  EXPECT_EQ(pool.figures().live_bytes, 0U);
  EXPECT_EQ(defect(pool), "");
}

TEST(Pool, NamesWhatIsStillInUseAtItsEnd) {
  Faulty upstream;
  const int64_t warnings = warnings_so_far();
  {
    Pool pool(upstream);
    (void)pool.allocate(100, "forgotten");
  }
  EXPECT_EQ(warnings_so_far(), warnings + 1);
  EXPECT_EQ(upstream.in_use_bytes(), 0U) << "the upstream has its segments back all the same";
}

class PoolStreams : public ::testing::Test {
 protected:
  static Stream stream(int index) {
    static std::array<char, 8> handles{};
    return {&handles.at(static_cast<size_t>(index))};
  }
  Faulty upstream;
  QueuedStreams streams;
  Stream a = stream(0), b = stream(1);
};

TEST_F(PoolStreams, TheSameStreamMayHaveItAtOnceOthersAfterTheMark) {
  Pool pool(upstream, segments_of(kUnit), streams);
  void* x = pool.allocate(kUnit, "x", a);
  streams.enqueue(a, [] {});
  pool.deallocate(x, kUnit, a);
  void* other = pool.allocate(kUnit, "other", b);
  EXPECT_NE(other, x) << "a's work is not over";
  EXPECT_EQ(pool.allocate(kUnit, "again", a), x);
  pool.deallocate(x, kUnit, a);
  streams.drain(a);
  EXPECT_EQ(pool.allocate(kUnit, "now", b), x);
  EXPECT_EQ(upstream.allocations(), 2);
  pool.deallocate(x, kUnit, b);
  pool.deallocate(other, kUnit, b);
  EXPECT_EQ(streams.marks_alive(), 0);
}

TEST_F(PoolStreams, WhatIsLeftOfAWaitingBlockWaitsToo) {
  Pool pool(upstream, segments_of(4 * kUnit), streams);
  void* x = pool.allocate(4 * kUnit, "x", a);
  streams.enqueue(a, [] {});
  pool.deallocate(x, 4 * kUnit, a);
  void* part = pool.allocate(kUnit, "part", a);
  EXPECT_EQ(part, x);
  void* other = pool.allocate(2 * kUnit, "other", b);
  EXPECT_EQ(upstream.allocations(), 2) << "three units are free, but for stream a";
  EXPECT_EQ(defect(pool), "");
  streams.drain(a);
  void* rest = pool.allocate(3 * kUnit, "rest", b);
  EXPECT_EQ(upstream.allocations(), 2);
  pool.deallocate(part, kUnit, a);
  pool.deallocate(other, 2 * kUnit, b);
  pool.deallocate(rest, 3 * kUnit, b);
  EXPECT_EQ(pool.trim(), 8 * kUnit);
  EXPECT_EQ(streams.marks_alive(), 0);
}

TEST_F(PoolStreams, JoinedNeighboursWaitForTheLaterMark) {
  Pool pool(upstream, segments_of(2 * kUnit), streams);
  void* x = pool.allocate(kUnit, "x", a);
  void* y = pool.allocate(kUnit, "y", a);
  streams.enqueue(a, [] {});
  pool.deallocate(x, kUnit, a);
  streams.enqueue(a, [] {});
  pool.deallocate(y, kUnit, a);
  EXPECT_EQ(streams.marks_alive(), 1) << "the earlier is forgotten";
  EXPECT_TRUE(streams.run_next(a));
  void* other = pool.allocate(kUnit, "other", b);
  EXPECT_EQ(upstream.allocations(), 2) << "the later mark has not passed";
  pool.deallocate(other, kUnit, b);
  streams.drain(a);
}

TEST_F(PoolStreams, RunningOutWaitsForOtherStreams) {
  Limit limit(upstream, 4 * kUnit);
  Pool pool(limit, segments_of(kUnit), streams);
  void* x = pool.allocate(4 * kUnit, "x", a);
  bool done = false;
  streams.enqueue(a, [&] { done = true; });
  pool.deallocate(x, 4 * kUnit, a);
  void* y = pool.allocate(3 * kUnit, "y", b);
  EXPECT_TRUE(done) << "the block was handed to b while a still used it";
  pool.deallocate(y, 3 * kUnit, b);
}

/// Work that writes its block and later checks it, on four streams in a random interleaving. Returns how many checks failed.
int races(StreamOrder& order, QueuedStreams& streams, uint64_t seed, const std::vector<Stream>& all) {
  Faulty upstream;
  Pool pool(upstream, segments_of(64 * kUnit), order);
  Random random(seed);
  int broken = 0;
  for (unsigned i = 0; i < 400; ++i) {
    const Stream stream = all[random.below(all.size())];
    const size_t bytes = 1 + random.below(20 * kUnit);
    auto* block = static_cast<unsigned char*>(pool.allocate(bytes, "x", stream));
    const auto value = static_cast<unsigned char>(i);
    streams.enqueue(stream, [=] { std::memset(block, value, bytes); });
    streams.enqueue(stream, [=, &broken] {
      broken += std::all_of(block, block + bytes, [=](unsigned char byte) { return byte == value; }) ? 0 : 1;
    });
    pool.deallocate(block, bytes, stream);
    for (uint64_t run = random.below(4); run > 0; --run) (void)streams.run_next(all[random.below(all.size())]);
  }
  streams.drain_all();
  (void)pool.trim();
  EXPECT_EQ(upstream.in_use_bytes(), 0U);
  return broken;
}

TEST_F(PoolStreams, NoInterleavingRaces) {
  const std::vector<Stream> all{stream(0), stream(1), stream(2), stream(3)};
  for (uint64_t seed = 0; seed < 50; ++seed) {
    EXPECT_EQ(races(streams, streams, seed, all), 0) << "seed " << seed;
    EXPECT_EQ(streams.marks_alive(), 0);
  }
}

/// The check above must find the errors of a pool without the rule.
TEST_F(PoolStreams, APoolThatIgnoresStreamsRaces) {
  const std::vector<Stream> all{stream(0), stream(1), stream(2), stream(3)};
  int broken = 0;
  for (uint64_t seed = 0; seed < 5; ++seed) broken += races(host_order(), streams, seed, all);
  EXPECT_GT(broken, 0);
}

}  // namespace
}  // namespace elek
