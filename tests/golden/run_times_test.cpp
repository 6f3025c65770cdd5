// SPDX-License-Identifier: Apache-2.0
// Times of runs: how many are taken, what their percentiles mean, when one network counts as slower, and that networks which do
// not fit in memory give no times. The agreement of logits on numbers made by hand. No test asks how fast anything is.
#include "engine/run_times.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/runtime.h"
#include "elek/memory.h"
#include "tests/golden/session_support.h"

namespace elek {
namespace {

SessionOptions one_thread(int64_t batch) {
  SessionOptions options;
  options.batch = batch;
  options.threads = 1;
  return options;
}

TEST(RunTimes, RandomPixelsFillTheBatchAndFollowTheSeed) {
  Session session(test::tiny_resnet({}), one_thread(3));
  Slot& slot = session.slots()[0];
  const auto pixels = [&](uint64_t seed) {
    slot.count = 0;
    fill_with_random_pixels(slot, seed);
    EXPECT_EQ(slot.count, slot.capacity);
    return std::vector<uint8_t>(slot.pixels, slot.pixels + slot.count * slot.shape.elements());
  };
  const std::vector<uint8_t> first = pixels(1);
  EXPECT_EQ(pixels(1), first);
  EXPECT_NE(pixels(2), first);
  EXPECT_GT(*std::max_element(first.begin(), first.end()), 240);
  EXPECT_LT(*std::min_element(first.begin(), first.end()), 16);
  EXPECT_THAT(std::vector<int32_t>(slot.labels, slot.labels + slot.count), ::testing::Each(-1));
}

TEST(RunTimes, PercentilesAndWhatIsSlower) {
  const Latency latency = latency_of({10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0});
  EXPECT_EQ(latency.p10, 1);
  EXPECT_EQ(latency.p50, 5);
  EXPECT_EQ(latency.p90, 9);
  EXPECT_TRUE(is_slower({4, 5, 6}, {1, 2, 3}));
  EXPECT_FALSE(is_slower({1, 2, 3}, {4, 5, 6}));
  EXPECT_FALSE(is_slower({3, 5, 7}, {1, 2, 3})) << "their ranges touch";
  EXPECT_THROW((void)latency_of({}), ContractError);
}

TEST(RunTimes, AtLeastFiveRunsAndAtLeastTheSeconds) {
  Session session(test::tiny_resnet({}), one_thread(2));
  fill_with_random_pixels(session.slots()[0], 1);
  EXPECT_EQ(time_runs(session, 0).size(), 5U);
  const auto start = std::chrono::steady_clock::now();
  const std::vector<double> ms = time_runs(session, 0.05);
  EXPECT_GE(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 0.05);
  EXPECT_GE(ms.size(), 5U);
  EXPECT_THAT(ms, ::testing::Each(::testing::Gt(0)));
  request_interrupt();
  EXPECT_THROW((void)time_runs(session, 0), Interrupted);
  clear_interrupt();
}

TEST(RunTimes, TwoNetworksInTurnsOrNothingIfTheyDoNotFit) {
  const Model dense = test::tiny_resnet({});
  test::TinyOptions narrow;
  narrow.widths = {3, 5, 8};
  const Model pruned = test::tiny_resnet(narrow);
  Limit limit(host_resource(), size_t{64} << 20);
  Tracker tracker(limit);
  SessionOptions options = one_thread(1);
  options.memory = &tracker;
  const std::optional<Latencies> times = time_in_turns(dense, pruned, options, 1);
  ASSERT_TRUE(times);
  for (const Latency& latency : {times->dense, times->pruned}) {
    EXPECT_GT(latency.p10, 0);
    EXPECT_LE(latency.p10, latency.p50);
    EXPECT_LE(latency.p50, latency.p90);
  }
  Tracker alone(host_resource());
  options.memory = &alone;
  { const Session session(dense, options); }
  Limit one_fits(host_resource(), alone.figures().peak_bytes);  // the first takes all of it
  Tracker small(one_fits);
  options.memory = &small;
  EXPECT_FALSE(time_in_turns(dense, pruned, options, 1));
  EXPECT_EQ(small.figures().live_bytes, 0U) << "all memory is given back";
  EXPECT_GT(small.figures().peak_bytes, 0U);
}

TEST(RunTimes, AgreementOfLogits) {
  const std::vector<float> f32{1, -4, 2, 0, 3, 1};      // two images, three classes: classes 2 and 1
  const std::vector<float> near{1, -3, 2, 0, 3, 3.5F};  // the second image's best class is another
  const Agreement found = agreement(near, f32, 2);
  EXPECT_DOUBLE_EQ(found.difference, 2.5 / 4);
  EXPECT_DOUBLE_EQ(found.same_top1, 0.5);
  EXPECT_EQ(agreement(f32, f32, 2).difference, 0);
  EXPECT_EQ(agreement(f32, f32, 2).same_top1, 1);
  std::vector<float> broken = f32;
  broken[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(agreement(broken, f32, 2).difference)) << "a NaN is not agreement";
  EXPECT_THROW((void)agreement(near, std::span(f32).first(3), 2), ContractError);
  EXPECT_THROW((void)agreement(near, f32, 4), ContractError);
}

}  // namespace
}  // namespace elek
