// SPDX-License-Identifier: Apache-2.0
// What every MemoryResource promises, as one typed suite: each resource adds one fixture. Below it, what Tracker and Limit
// promise beyond that.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <memory>
#include <thread>
#include <vector>

#include "core/error.h"
#include "elek/memory.h"
#include "tests/support/faulty.h"

namespace elek {
namespace {

using test::Faulty;

/// A resource under test on an upstream that counts and can be made to fail. live_bytes(): bytes in use.
struct HostFixture {
  HostResource resource;
  Faulty upstream;  // not used: the host is an upstream itself, and the sanitizers check its blocks
  [[nodiscard]] size_t live_bytes() const { return upstream.in_use_bytes(); }
};
struct TrackerFixture {
  Faulty upstream;
  Tracker resource{upstream};
  [[nodiscard]] size_t live_bytes() const { return upstream.in_use_bytes(); }
};
struct LimitFixture {
  Faulty upstream;
  Limit resource{upstream, size_t{1} << 30};
  [[nodiscard]] size_t live_bytes() const { return upstream.in_use_bytes(); }
};
/// A pool that keeps nothing: every block is a segment and is returned at once.
struct PoolFixture {
  Faulty upstream;
  Pool resource{upstream, {.segment_bytes = 1, .keep_bytes = 0}};
  [[nodiscard]] size_t live_bytes() const {
    const size_t live = resource.figures().live_bytes;
    return live == 0 ? upstream.in_use_bytes() : live;
  }
};
/// The stack of the command: a tracker over a pool over a limit over the host.
struct StackFixture {
  Faulty upstream;
  Limit limit{upstream, size_t{1} << 30};
  Pool pool{limit};
  Tracker resource{pool};
  [[nodiscard]] size_t live_bytes() const {
    EXPECT_EQ(pool.figures().live_bytes, resource.figures().live_bytes);
    return resource.figures().live_bytes;
  }
};

template <typename F>
class MemoryResourceContract : public ::testing::Test {
 protected:
  F fixture;
};
using Fixtures = ::testing::Types<HostFixture, TrackerFixture, LimitFixture, PoolFixture, StackFixture>;
TYPED_TEST_SUITE(MemoryResourceContract, Fixtures);

/// Rules for resources that pass every call on to another one.
template <typename F>
class MemoryPolicyContract : public MemoryResourceContract<F> {};
using PolicyFixtures = ::testing::Types<TrackerFixture, LimitFixture, PoolFixture>;
TYPED_TEST_SUITE(MemoryPolicyContract, PolicyFixtures);

constexpr size_t kSizes[] = {1, 255, 256, 257, 4096, size_t{1} << 20};

TYPED_TEST(MemoryResourceContract, BlocksAreAlignedDisjointAndKeepTheirPattern) {
  auto& resource = this->fixture.resource;
  std::vector<std::pair<unsigned char*, size_t>> blocks;
  for (const size_t bytes : kSizes) {
    auto* block = static_cast<unsigned char*>(resource.allocate(bytes, "block"));
    ASSERT_NE(block, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % kAlignment, 0U);
    std::memset(block, static_cast<int>(blocks.size() + 1), bytes);
    blocks.emplace_back(block, bytes);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    const auto [block, bytes] = blocks[i];
    EXPECT_TRUE(std::all_of(block, block + bytes, [&](unsigned char byte) { return byte == i + 1; })) << "block " << i;
  }
  for (const auto& [block, bytes] : blocks) {
    resource.deallocate(block, bytes);
  }
  EXPECT_EQ(this->fixture.live_bytes(), 0U) << this->fixture.upstream.leaks();
  EXPECT_TRUE(this->fixture.upstream.misuse().empty());
}

TYPED_TEST(MemoryResourceContract, ZeroBytesAreNoAllocation) {
  EXPECT_EQ(this->fixture.resource.allocate(0, "nothing"), nullptr);
  EXPECT_EQ(this->fixture.upstream.allocations(), 0);
  this->fixture.resource.deallocate(nullptr, 0);  // ignored
  EXPECT_TRUE(this->fixture.upstream.misuse().empty());
}

TYPED_TEST(MemoryResourceContract, AnImpossibleSizeIsOutOfMemoryAndNamesTheTensor) {
  void* held = this->fixture.resource.allocate(1000, "held");  // sums of sizes must not wrap around
  for (const size_t bytes :
       {std::numeric_limits<size_t>::max(), std::numeric_limits<size_t>::max() / 2 - 100, size_t{1} << 60}) {
    try {
      void* block = this->fixture.resource.allocate(bytes, "layer1.0.conv2");
      ADD_FAILURE() << "allocated " << bytes << " bytes";
      this->fixture.resource.deallocate(block, bytes);
    } catch (const OutOfMemory& error) {
      EXPECT_EQ(error.figures().requested_bytes, bytes);
      EXPECT_NE(std::string(error.what()).find("layer1.0.conv2"), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(bytes_text(bytes)), std::string::npos) << error.what();
    }
  }
  void* block = this->fixture.resource.allocate(100, "after");  // still works
  EXPECT_NE(block, nullptr);
  this->fixture.resource.deallocate(block, 100);
  this->fixture.resource.deallocate(held, 1000);
}

TYPED_TEST(MemoryPolicyContract, AFailingUpstreamIsPassedOnAndChangesNothing) {
  Faulty& upstream = this->fixture.upstream;
  void* before = this->fixture.resource.allocate(1000, "before");
  upstream.fail_at(0);
  EXPECT_THROW((void)this->fixture.resource.allocate(500, "refused"), OutOfMemory);
  EXPECT_EQ(this->fixture.live_bytes(), 1000U);
  upstream.heal();
  void* after = this->fixture.resource.allocate(500, "after");
  EXPECT_EQ(this->fixture.live_bytes(), 1500U);
  this->fixture.resource.deallocate(before, 1000);
  this->fixture.resource.deallocate(after, 500);
  EXPECT_EQ(this->fixture.live_bytes(), 0U);
}

TYPED_TEST(MemoryResourceContract, ThreadsMayAllocateAtOnce) {
  auto& resource = this->fixture.resource;
  std::vector<std::thread> threads;
  std::atomic<int> broken{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&resource, &broken, t] {
      for (size_t i = 1; i <= 200; ++i) {
        auto* block = static_cast<unsigned char*>(resource.allocate(i * 7, "block"));
        std::memset(block, t, i * 7);
        broken += std::all_of(block, block + i * 7, [&](unsigned char byte) { return byte == t; }) ? 0 : 1;
        resource.deallocate(block, i * 7);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(broken, 0);
  EXPECT_EQ(this->fixture.live_bytes(), 0U);
}

TYPED_TEST(MemoryResourceContract, StreamsOfTheHostShareItsMemory) {
  auto& resource = this->fixture.resource;
  char handles[2] = {};
  const Stream a{&handles[0]}, b{&handles[1]};
  void* x = resource.allocate(1000, "x", a);
  void* y = resource.allocate(1000, "y", b);
  EXPECT_NE(x, y);
  resource.deallocate(x, 1000, b);  // another stream may give it back
  resource.deallocate(y, 1000, a);
  EXPECT_EQ(this->fixture.live_bytes(), 0U);
  EXPECT_TRUE(this->fixture.upstream.misuse().empty());
}

TYPED_TEST(MemoryResourceContract, KnowsItsDevice) { EXPECT_EQ(this->fixture.resource.device(), Device{}); }

TEST(Tracker, CountsLiveBytesPeakAndCalls) {
  Faulty upstream;
  Tracker tracker(upstream);
  void* a = tracker.allocate(100, "a");
  void* b = tracker.allocate(50, "b");
  tracker.deallocate(a, 100);
  void* c = tracker.allocate(30, "c");
  Tracker::Figures figures = tracker.figures();
  EXPECT_EQ(figures.live_bytes, 80U);
  EXPECT_EQ(figures.peak_bytes, 150U);
  EXPECT_EQ(figures.allocations, 3);
  EXPECT_EQ(figures.deallocations, 1);
  tracker.reset_peak();
  EXPECT_EQ(tracker.figures().peak_bytes, 80U);
  tracker.deallocate(b, 50);
  tracker.deallocate(c, 30);
  EXPECT_EQ(tracker.figures().live_bytes, 0U);
  EXPECT_EQ(tracker.figures().peak_bytes, 80U);
}

TEST(Tracker, FailedAndEmptyAllocationsAreNotCounted) {
  Faulty upstream;
  Tracker tracker(upstream);
  upstream.fail_at(0);
  EXPECT_THROW((void)tracker.allocate(100, "a"), OutOfMemory);
  EXPECT_EQ(tracker.allocate(0, "empty"), nullptr);
  const Tracker::Figures figures = tracker.figures();
  EXPECT_EQ(figures.allocations, 0);
  EXPECT_EQ(figures.live_bytes, 0U);
  EXPECT_EQ(figures.peak_bytes, 0U);
}

TEST(Tracker, RecordsEventsWhenAsked) {
  Faulty upstream;
  Tracker tracker(upstream);
  void* early = tracker.allocate(10, "early");
  EXPECT_TRUE(tracker.events().empty()) << "off by default";
  tracker.record_events(true);
  void* a = tracker.allocate(20, "a");
  tracker.deallocate(early, 10);
  tracker.deallocate(a, 20);
  tracker.record_events(false);
  tracker.deallocate(tracker.allocate(5, "late"), 5);
  const std::vector<Tracker::Event> events = tracker.events();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_TRUE(events[0].allocation);
  EXPECT_EQ(events[0].label, "a");
  EXPECT_EQ(events[0].bytes, 20U);
  EXPECT_FALSE(events[1].allocation);
  EXPECT_EQ(events[1].bytes, 10U);
  EXPECT_FALSE(events[2].allocation);
  EXPECT_EQ(events[2].block, events[0].block);
  tracker.record_events(true);
  EXPECT_TRUE(tracker.events().empty()) << "a new record starts empty";
}

TEST(Limit, RefusesTheByteTooManyAndSaysWhy) {
  Faulty upstream;
  Limit limit(upstream, 1000);
  void* a = limit.allocate(600, "weights");
  void* b = limit.allocate(400, "arena");  // exactly the limit
  limit.deallocate(b, 400);
  try {
    (void)limit.allocate(401, "statistics");
    FAIL() << "401 bytes beside 600 pass a limit of 1000";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.figures().requested_bytes, 401U);
    EXPECT_EQ(error.figures().in_use_bytes, 600U);
    EXPECT_EQ(error.figures().peak_bytes, 1000U);
    EXPECT_EQ(error.figures().limit_bytes, 1000U);
    EXPECT_EQ(error.figures().largest_free_bytes, 400U);
    for (const char* word : {"401", "600", "1,000", "statistics"}) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  }
  try {
    (void)limit.allocate(std::numeric_limits<size_t>::max(), "everything");
    FAIL() << "a sum that wraps around must not slip under the limit";
  } catch (const OutOfMemory& error) {
    EXPECT_EQ(error.figures().limit_bytes, 1000U) << "refused by the limit, not by what is below it";
  }
  EXPECT_EQ(limit.live_bytes(), 600U);
  EXPECT_EQ(upstream.allocations(), 2) << "the refused one never reached the upstream";
  limit.deallocate(a, 600);
  EXPECT_EQ(limit.live_bytes(), 0U);
  EXPECT_EQ(limit.limit_bytes(), 1000U);
}

TEST(Limit, GivesBackItsShareWhenTheUpstreamFails) {
  Faulty upstream;
  Limit limit(upstream, 1000);
  upstream.fail_at(0);
  EXPECT_THROW((void)limit.allocate(1000, "a"), OutOfMemory);
  EXPECT_EQ(limit.live_bytes(), 0U);
  upstream.heal();
  void* a = limit.allocate(1000, "a");
  limit.deallocate(a, 1000);
}

TEST(Limit, HoldsAgainstThreads) {
  Faulty upstream;
  Tracker tracker(upstream);
  Limit limit(tracker, 1000);
  std::vector<std::thread> threads;
  std::atomic<int> granted{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        try {
          void* block = limit.allocate(400, "block");
          ++granted;
          std::this_thread::yield();
          limit.deallocate(block, 400);
        } catch (const OutOfMemory&) {  // expected for a third block at once
        }
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_GT(granted, 0);
  EXPECT_LE(tracker.figures().peak_bytes, 800U);
  EXPECT_EQ(limit.live_bytes(), 0U);
}

}  // namespace
}  // namespace elek
