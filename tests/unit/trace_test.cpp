// SPDX-License-Identifier: Apache-2.0
// Traces as files, allocators by the textbook, placements by hand, and the course's exercises. The allocators are compared with
// small cases worked out by hand, and the judge of placements with a check of all pairs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "core/error.h"
#include "core/runtime.h"
#include "lab/course.h"
#include "lab/trace_file.h"

namespace elek {
namespace {

class TraceFile : public ::testing::Test {
 protected:
  TraceFile() { std::filesystem::create_directories(folder_); }
  ~TraceFile() override { std::filesystem::remove_all(folder_); }
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = (folder_ / name).string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string refused(const std::string& name, const std::string& text) {
    try {
      (void)read_trace(write(name, text));
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  }
  std::filesystem::path folder_ = std::filesystem::temp_directory_path() / ("elek-trace-" + std::to_string(getpid()));
};

constexpr const char* kCsv = "name,bytes,first,last\n# a comment\na,1000,1,2\n\"b, \"\"c\"\"\",2000,2,4\nd,3000,4,4\n";

void expect_same(const Trace& a, const Trace& b) {
  ASSERT_EQ(a.blocks.size(), b.blocks.size());
  for (size_t i = 0; i < a.blocks.size(); ++i) {
    EXPECT_EQ(a.blocks[i].label, b.blocks[i].label);
    EXPECT_EQ(a.blocks[i].bytes, b.blocks[i].bytes);
    EXPECT_EQ(a.blocks[i].first_step, b.blocks[i].first_step);
    EXPECT_EQ(a.blocks[i].last_step, b.blocks[i].last_step);
  }
  EXPECT_EQ(a.steps.size(), b.steps.size());
}

TEST_F(TraceFile, LifetimesByHandAreReadAndWrittenAgain) {
  const Trace trace = read_trace(write("t.csv", kCsv));
  ASSERT_EQ(trace.blocks.size(), 3U);
  EXPECT_EQ(trace.blocks[1].label, "b, \"c\"");
  EXPECT_EQ(alive_at_steps(trace), (std::vector<size_t>{1024, 1024 + 2048, 2048, 2048 + 3072}));
  for (const char* name : {"again.csv", "again.jsonl"}) {
    expect_same(trace, read_trace(write(name, trace_text(trace, name, TraceForm::kLifetimes))));
  }
  expect_same(
      trace,
      read_trace(write("other.csv", "last, first ,name,bytes,more\n2,1,a,1000,x\n4,2,\"b, \"\"c\"\"\",2000,\n4,4,d,3000,\n")));
}

TEST_F(TraceFile, EventsKeepTheirOrder) {
  const Trace trace = read_trace(write("t.jsonl", R"({"event":"allocate","block":9,"bytes":100,"name":"a"}
{"event":"allocate","block":2,"bytes":50}

{"event":"free","block":9}
{"event":"allocate","block":9,"bytes":70,"name":"c"}
)"));
  ASSERT_EQ(trace.blocks.size(), 3U);
  EXPECT_EQ(trace.blocks[1].label, "block 2");
  EXPECT_EQ(trace.events.size(), 4U);
  EXPECT_EQ(trace.blocks[2].last_step, 3) << "never freed";
  for (const char* name : {"again.jsonl", "again.pickle"}) {
    const Trace again = read_trace(write(name, trace_text(trace, name, TraceForm::kEvents)));
    expect_same(trace, again);
    ASSERT_EQ(again.events.size(), trace.events.size()) << name;
    for (size_t i = 0; i < again.events.size(); ++i) EXPECT_EQ(again.events[i].allocation, trace.events[i].allocation);
  }
}

TEST_F(TraceFile, WhatIsWrongIsNamedWithItsLine) {
  using ::testing::AllOf;
  using ::testing::HasSubstr;
  EXPECT_THAT(refused("a.csv", "name,size\nx,1\n"), AllOf(HasSubstr("a.csv, line 1"), HasSubstr("name,bytes,first,last")));
  EXPECT_THAT(refused("a.csv", "name,bytes,first,last\nx,1,3,2\n"), AllOf(HasSubstr("line 2"), HasSubstr("before it begins")));
  EXPECT_THAT(refused("a.csv", "name,bytes,first,last\nx,1MB,1,2\n"),
              AllOf(HasSubstr("'bytes' is '1MB'"), HasSubstr("whole number")));
  EXPECT_THAT(refused("a.csv", "name,bytes,first,last\nx,1,0,2\n"), HasSubstr("'first'"));
  EXPECT_THAT(refused("a.csv", "name,bytes,first,last\nx,1,1,99999999999\n"), HasSubstr("'last'"));
  EXPECT_THAT(refused("a.csv", "name,bytes,first,last\nx,1\n"), HasSubstr("line 2"));
  EXPECT_THAT(refused("a.csv", "name,bytes,first,last\n"), HasSubstr("no row"));
  EXPECT_THAT(refused("a.jsonl", "[1]\n"), HasSubstr("line 1"));
  EXPECT_THAT(refused("a.jsonl", "{\"event\":\"free\",\"block\":3}\n"), HasSubstr("not alive"));
  EXPECT_THAT(refused("a.jsonl", "{\"event\":\"allocate\",\"block\":3,\"bytes\":-1}\n"), HasSubstr("\"bytes\""));
  EXPECT_THAT(
      refused("a.jsonl",
              "{\"name\":\"x\",\"bytes\":1,\"first\":1,\"last\":1}\n{\"event\":\"allocate\",\"block\":3,\"bytes\":1}\n"),
      HasSubstr("one of the two"));
  EXPECT_THAT(refused("a.jsonl", "\n"), HasSubstr("no block"));
  EXPECT_THAT(refused("a.txt", "x"), HasSubstr(".csv, .jsonl or .pickle"));
}

TEST_F(TraceFile, PerfettoCountsTheBytes) {
  const std::string text = trace_text(read_trace(write("t.csv", kCsv)), "x.json", TraceForm::kLifetimes);
  EXPECT_THAT(text, ::testing::StartsWith("{\"traceEvents\":["));
  EXPECT_THAT(text, ::testing::HasSubstr(R"("ph":"C","ts":3,"pid":1,"args":{"bytes":5120}})"));
  EXPECT_THAT(text, ::testing::HasSubstr(R"("ph":"e","id":2,"ts":4)"));
}

Trace lives(const std::vector<std::array<int, 3>>& of) {  // units of 256 bytes, first and last step from 0
  Trace trace;
  for (const auto& [units, first, last] : of) {
    trace.blocks.push_back(
        {"b" + std::to_string(trace.blocks.size()), "", static_cast<size_t>(units) * 256, first, last, false});
    trace.steps.resize(std::max(trace.steps.size(), static_cast<size_t>(last) + 1));
  }
  schedule(trace);
  return trace;
}

TEST(Fit, FirstTakesTheLowestHoleAndBestTheSmallest) {
  // 4 2 2 1 side by side; the 4 and the second 2 go; then a 2 comes: first fit puts it at 0, best fit into the hole of 2.
  const Trace trace = lives({{4, 0, 0}, {2, 0, 3}, {2, 0, 0}, {1, 0, 3}, {2, 1, 3}, {4, 2, 3}});
  const Replay first = replay(trace, Strategy::kFirstFit), best = replay(trace, Strategy::kBestFit);
  EXPECT_EQ(first.offsets[4], 0U);
  EXPECT_EQ(best.offsets[4], 6U * 256);
  EXPECT_EQ(first.peak_reserved_bytes, 13U * 256) << "4 no longer fits into what is left of the hole";
  EXPECT_EQ(best.peak_reserved_bytes, 9U * 256);
  EXPECT_EQ(best.offsets[5], 0U);
}

TEST(Fit, NeighbouringHolesAreJoinedAndTheEndIsUsed) {
  const Trace trace = lives({{2, 0, 0}, {2, 0, 1}, {1, 0, 3}, {4, 2, 3}});
  EXPECT_EQ(replay(trace, Strategy::kFirstFit).offsets[3], 0U);
  const Trace end = lives({{1, 0, 3}, {2, 0, 0}, {3, 1, 3}});
  EXPECT_EQ(replay(end, Strategy::kFirstFit).peak_reserved_bytes, 4U * 256) << "the hole at the end grows";
}

/// Holes of malloc count: every second block is freed, and larger ones come.
TEST(Malloc, ItsHolesCount) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizer replaces malloc";
#endif
  Trace trace;
  trace.steps.resize(3);
  for (int i = 0; i < 2000; ++i) trace.blocks.push_back({"small", "", 2000, 0, i % 2 == 0 ? 0 : 2, false});
  for (int i = 0; i < 500; ++i) trace.blocks.push_back({"large", "", 4000, 1, 2, false});
  schedule(trace);
  const Replay r = replay(trace, Strategy::kMalloc);
  EXPECT_GT(r.peak_reserved_bytes, 5'500'000U) << "4 MB of small blocks, half of them holes, and 2 MB of large ones beside";
  EXPECT_GT(r.waste(), 0.25);
}

/// The judge against a check of all pairs, on random placements, of which some are valid.
TEST(Placed, FindsOverlapsLikeACheckOfAllPairs) {
  Random random(3);
  int valid = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<std::array<int, 3>> of;
    std::vector<size_t> offsets;
    for (int i = 0; i < 5; ++i) {
      const int first = static_cast<int>(random.below(6));
      of.push_back({1 + static_cast<int>(random.below(3)), first, first + static_cast<int>(random.below(3))});
      offsets.push_back(256 * random.below(12));
    }
    const Trace trace = lives(of);
    bool overlap = false;
    for (size_t a = 0; a < of.size(); ++a) {
      for (size_t b = 0; b < a; ++b) {
        const bool time =
            trace.blocks[a].first_step <= trace.blocks[b].last_step && trace.blocks[b].first_step <= trace.blocks[a].last_step;
        const bool place = offsets[a] < offsets[b] + trace.blocks[b].bytes && offsets[b] < offsets[a] + trace.blocks[a].bytes;
        overlap = overlap || (time && place);
      }
    }
    EXPECT_EQ(placed(trace, offsets).problem_count > 0, overlap) << round;
    valid += overlap ? 0 : 1;
  }
  EXPECT_GT(valid, 20);
  EXPECT_LT(valid, 280);
  EXPECT_EQ(placed(lives({{1, 0, 0}}), {100}).problem_count, 1) << "not aligned";
}

TEST_F(TraceFile, PlacementsNameBlocksByNameOrNumber) {
  const Trace trace = read_trace(write("t.csv", kCsv));
  EXPECT_EQ(read_placement(write("p.csv", "block,offset\na,0\n2,1024\nd,3072\n"), trace), (std::vector<size_t>{0, 1024, 3072}));
  const auto refused_placement = [&](const std::string& text) -> std::string {
    try {
      (void)read_placement(write("p.csv", text), trace);
    } catch (const InputError& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_THAT(refused_placement("block,offset\na,0\n"), ::testing::HasSubstr("no offset for block 2"));
  EXPECT_THAT(refused_placement("block,offset\na,0\n1,0\n"), ::testing::HasSubstr("already"));
  EXPECT_THAT(refused_placement("block,offset\nz,0\n"), ::testing::HasSubstr("no block 'z'"));
  EXPECT_THAT(refused_placement("block,offset\na,-256\n"), ::testing::HasSubstr("'offset'"));
}

/// Answers worked out by hand; the solutions' page gives the same.
TEST_F(TraceFile, TheCourseAcceptsRightAnswersOnly) {
  const Trace network = lives({{4, 0, 1}, {8, 1, 2}});
  const auto of = [&](int64_t batch) {
    Trace trace = network;
    trace.steps = {"x", "y", "z"};
    for (Trace::Block& b : trace.blocks) b.bytes *= static_cast<size_t>(batch);
    return trace;
  };
  const std::string placement =
      write("p.csv", "block,offset\na,0\nb,2099968\nc,0\nd,1999872\ne,5099776\nf,5099520\ng,7099392\nh,5999616\n");
  const std::string breaks =
      write("t.csv",
            "name,bytes,first,last\na,1000000,1,1\nb,256,1,9\nc,1000000,1,1\nd,256,1,9\ne,1000000,1,1\nf,256,1,9\n"
            "g,3000000,2,3\n");
  const std::vector<std::pair<std::string, std::string>> right{
      {"1.1", "7"},  {"1.2", "y"},    {"1.3", "12288"}, {"2.1", "16"}, {"2.2", "14"},    {"3.1", "5"},       {"4.1", "50"},
      {"4.2", "10"}, {"4.3", breaks}, {"5.1", "300"},   {"5.2", "d"},  {"5.3", "32552"}, {"6.1", "262.144"}, {"6.2", "2"}};
  for (const auto& [exercise, answer] : right) {
    const Judgement judged = check_answer(exercise, answer, of);
    EXPECT_TRUE(judged.right) << exercise << ": " << judged.words;
  }
  for (const auto& [exercise, answer] : right) {
    if (exercise == "4.3") continue;
    EXPECT_FALSE(check_answer(exercise, exercise == "1.2" || exercise == "5.2" ? "z" : "99", of).right) << exercise;
  }
  EXPECT_FALSE(check_answer("3.2", placement, of).right) << "e and f overlap";
  EXPECT_FALSE(check_answer("4.3", write("few.csv", "name,bytes,first,last\na,1000000,1,1\n"), of).right);
  EXPECT_EQ(exercises().size(), 18U);
  EXPECT_THROW((void)check_answer("7.1", "1", of), UsageError);
  EXPECT_THROW((void)check_answer("1.1", "seven", of), UsageError);
}

}  // namespace
}  // namespace elek
