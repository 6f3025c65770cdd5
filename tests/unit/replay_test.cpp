// SPDX-License-Identifier: Apache-2.0
// Traces and their replays: no strategy lets live blocks overlap, none reserves less than is alive, the arena is the plan's,
// and the caching model follows its published rules. The map: one rectangle per block and panel, names escaped.
#include "lab/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "lab/map_page.h"
#include "lab/memory_map.h"

namespace elek {
namespace {

Program two_blocks() {
  Program program;
  program.steps.resize(4);
  for (int32_t i = 0; i < 4; ++i) {
    ProgramTensor t;
    t.name = "layer1." + std::to_string(i) + "<&>";
    t.storage = i == 3 ? 1 : i;
    program.tensors.push_back(t);
    program.steps[static_cast<size_t>(i)].output = i;
  }
  program.storages = {{"layer1.0<&>", 3000, 0, 1}, {"layer1.1<&>", 5000, 1, 3}, {"layer1.2<&>", 3000, 2, 3}};
  program.steps[2].workspace_bytes = 700;
  return program;
}

/// Whether any two blocks that are alive at once overlap, judged from the events.
bool overlap(const Trace& trace, const Replay& replay) {
  std::vector<size_t> alive;
  for (const Trace::Event& event : trace.events) {
    const auto block = static_cast<size_t>(event.block);
    if (!event.allocation) {
      std::erase(alive, block);
      continue;
    }
    for (const size_t other : alive) {
      if (replay.offsets[block] < replay.offsets[other] + trace.blocks[other].bytes &&
          replay.offsets[other] < replay.offsets[block] + trace.blocks[block].bytes) {
        return true;
      }
    }
    alive.push_back(block);
  }
  return false;
}

TEST(Replay, AProgramBecomesATrace) {
  const Trace trace = trace_of(two_blocks());
  ASSERT_EQ(trace.blocks.size(), 4U);
  EXPECT_EQ(trace.blocks[1].label, "layer1.1<&> .. layer1.3<&>") << "the last step that computes in place";
  EXPECT_TRUE(trace.blocks[3].workspace);
  EXPECT_EQ(trace.events.size(), 8U);
  EXPECT_EQ(replay(trace, Strategy::kArena).peak_live_bytes, 5120U + 3072U + 768U);
}

TEST(Replay, NoStrategyLetsLiveBlocksOverlap) {
  for (const Trace& trace : {trace_of(two_blocks()), random_trace(1, 3000, 60), random_trace(2, 3000, 5)}) {
    for (const Strategy s : {Strategy::kSeparate, Strategy::kCaching, Strategy::kPool, Strategy::kArena}) {
      const Replay r = replay(trace, s);
      EXPECT_FALSE(overlap(trace, r)) << name_of(s);
      EXPECT_GE(r.peak_reserved_bytes, r.peak_live_bytes) << name_of(s);
      for (size_t i = 0; i < trace.blocks.size(); ++i)
        EXPECT_LE(r.offsets[i] + r.bytes[i], r.peak_reserved_bytes) << name_of(s);
    }
    EXPECT_GE(replay(trace, Strategy::kMalloc).peak_reserved_bytes, 5000U);
    EXPECT_LE(replay(trace, Strategy::kPool).peak_reserved_bytes,
              replay(trace, Strategy::kSeparate).peak_reserved_bytes + (2U << 20U));
  }
}

/// The check above must find an overlap.
TEST(Replay, TheJudgeSeesAnOverlap) {
  const Trace trace = trace_of(two_blocks());
  Replay r = replay(trace, Strategy::kArena);
  EXPECT_FALSE(overlap(trace, r));
  r.offsets[2] = r.offsets[1];
  EXPECT_TRUE(overlap(trace, r));
}

Trace blocks_of(const std::vector<size_t>& sizes) {
  Trace trace;
  for (const size_t bytes : sizes) {
    const auto i = static_cast<int32_t>(trace.blocks.size());
    trace.blocks.push_back({"b", "b", bytes, i, static_cast<int32_t>(sizes.size()) - 1, false});
    trace.steps.emplace_back("s");
    trace.events.push_back({true, i});
  }
  return trace;
}

TEST(Replay, TheCachingModelFollowsItsRules) {
  constexpr size_t kMiB = size_t{1} << 20;
  const auto reserved = [](const std::vector<size_t>& sizes) {
    return replay(blocks_of(sizes), Strategy::kCaching).peak_reserved_bytes;
  };
  EXPECT_EQ(reserved({1}), 2 * kMiB) << "small: from a segment of 2 MB";
  EXPECT_EQ(reserved({kMiB, kMiB}), 2 * kMiB);
  EXPECT_EQ(reserved({kMiB, kMiB, 1}), 4 * kMiB);
  EXPECT_EQ(reserved({kMiB + 1}), 20 * kMiB) << "large: from a segment of 20 MB";
  EXPECT_EQ(reserved({10 * kMiB - 512, 10 * kMiB - 512}), 20 * kMiB);
  EXPECT_EQ(reserved({11 * kMiB - 100}), 12 * kMiB) << "10 MB and more: its own, in steps of 2 MB";
  EXPECT_EQ(replay(blocks_of({1}), Strategy::kCaching).bytes[0], 512U);
}

TEST(Replay, RefusesATraceThatFreesTwice) {
  Trace trace = blocks_of({10});
  trace.events.push_back({false, 0});
  trace.events.push_back({false, 0});
  EXPECT_THROW((void)replay(trace, Strategy::kPool), ContractError);
}

TEST(Replay, RecordedEventsBecomeATrace) {
  const std::vector<Tracker::Event> events{
      {true, 100, 1, "a"}, {true, 50, 2, "b"}, {false, 100, 1, ""}, {true, 70, 1, "c"}, {false, 9, 77, ""}};
  const Trace trace = trace_of(events);
  ASSERT_EQ(trace.blocks.size(), 3U);
  EXPECT_EQ(trace.blocks[0].last_step, 2);
  EXPECT_EQ(trace.blocks[2].first_step, 3);
  EXPECT_EQ(trace.blocks[2].last_step, 4) << "never given back";
  EXPECT_EQ(trace.events.size(), 4U) << "a block from before the recording is left out";
}

size_t count(const std::string& text, const std::string& what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(MemoryMap, DrawsEveryBlockInEveryPanelAndEscapesNames) {
  const Trace trace = trace_of(two_blocks());
  const std::vector<Replay> replays{replay(trace, Strategy::kSeparate), replay(trace, Strategy::kMalloc),
                                    replay(trace, Strategy::kArena)};
  const std::string svg = memory_map_svg(trace, replays, {"a <b> & c", replays[0].peak_live_bytes, 0});
  EXPECT_EQ(count(svg, "sets the bound"), 1U) << "in the arena's panel";
  EXPECT_EQ(count(svg, "class=\"t\""), 2 * trace.blocks.size()) << "malloc has no offsets and no panel";
  EXPECT_THAT(svg, ::testing::HasSubstr("a &lt;b&gt; &amp; c"));
  EXPECT_THAT(svg, ::testing::Not(::testing::HasSubstr("<&>")));
  EXPECT_THAT(svg, ::testing::HasSubstr("layer1.1&lt;&amp;&gt;, layer1.3"));
  EXPECT_THAT(memory_map_svg(trace, {replays.begin(), 1}, {"t", 1, 2}), ::testing::HasSubstr("Bytes alive at each step"));
}

TEST(MapPage, NoNameEndsTheScriptElementAndNothingIsLoaded) {
  Trace trace = trace_of(two_blocks());
  trace.blocks[0].label = "</script><b>\xff";
  MapPage page;
  page.title = "a <b> & c";
  page.sets.push_back({"all", trace, {replay(trace, Strategy::kArena), replay(trace, Strategy::kMalloc)}});
  const std::string html = map_page_html(page);
  EXPECT_THAT(html, ::testing::StartsWith("<!doctype html>"));
  EXPECT_THAT(html, ::testing::HasSubstr("<title>a &lt;b&gt; &amp; c</title>"));
  EXPECT_EQ(count(html, "<script"), 2U);
  EXPECT_EQ(count(html, "</script>"), 2U);
  EXPECT_EQ(count(html, "src="), 0U);
  EXPECT_EQ(count(html, "\"reserved\":"), 1U) << "malloc has no offsets and no panel";
  EXPECT_THROW((void)map_page_html({}), ContractError);
}

}  // namespace
}  // namespace elek
