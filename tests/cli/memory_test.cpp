// SPDX-License-Identifier: Apache-2.0
// elek memory as a user runs it: the table's figures are those of a real session, the largest batch runs and the next does not,
// the map is written, and the runs that go wrong on purpose go wrong.
#include <algorithm>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

TEST(MemoryCommand, FiguresAreThoseOfTheSession) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto memory = elek_command({"memory", "--model", model, "--batch", "7", "--threads", "2", "--json"}).json();
  const auto bench =
      elek_command({"bench", "--model", model, "--batch", "7", "--threads", "2", "--seconds", "0", "--json"}).json();
  for (const char* key : {"arena_bytes", "lower_bound_bytes", "activations_bytes", "workspace_bytes", "weights_bytes",
                          "statistics_bytes", "staging_bytes"}) {
    EXPECT_EQ(memory.at(key), bench.at("memory").at(key)) << key;
  }
  EXPECT_EQ(memory.at("arena_bytes"), memory.at("lower_bound_bytes"));
  EXPECT_GT(memory.at("arena_bytes").get<size_t>(), 0U);
  EXPECT_EQ(memory.at("statistics_bytes"), 0U);
  const auto watched = elek_command({"memory", "--model", model, "--watch", "--json"}).json();
  EXPECT_GT(watched.at("statistics_bytes").get<size_t>(), 0U);
}

TEST(MemoryCommand, TheLargestBatchRunsAndTheNextIsRefused) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const std::string limit : {"4MB", "6.5MB", "12MB"}) {
    const auto solved =
        elek_command({"memory", "--model", model, "--max-batch", "--memory-limit", limit, "--threads", "2", "--json"}).json();
    const auto batch = solved.at("max_batch").get<int64_t>();
    const auto bench = [&](int64_t n) {
      return elek_command({"bench", "--model", model, "--batch", std::to_string(n), "--memory-limit", limit, "--threads", "2",
                           "--seconds", "0", "--json"});
    };
    EXPECT_EQ(bench(batch).exit_code, 0) << "batch " << batch << " under " << limit;
    const Outcome refused = bench(batch + 1);
    EXPECT_EQ(refused.exit_code, 4) << "batch " << batch + 1 << " under " << limit;
    EXPECT_THAT(refused.err, ::testing::HasSubstr("plan: weights")) << "refused by us, with the plan";
  }
}

TEST(MemoryCommand, ALimitBelowOneSampleIsRefusedWithThePlan) {
  const Folder folder;
  const Outcome outcome =
      elek_command({"memory", "--model", tiny_model(folder), "--max-batch", "--memory-limit", "1.5MB", "--json"});
  EXPECT_EQ(outcome.exit_code, 4);
  EXPECT_THAT(outcome.err, ::testing::HasSubstr("not one sample fits"));
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--max-batch"}).exit_code, 2) << "no limit given";
}

TEST(MemoryCommand, DrawsTheMap) {
  const Folder folder;
  for (const char* name : {"map.svg", "map.html"}) {
    ASSERT_EQ(elek_command({"memory", "--arch", "resnet18", "--map", folder / name}).exit_code, 0);
    EXPECT_THAT(read_text(folder / name), ::testing::HasSubstr("layer1.0"));
  }
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--map", folder / "map.png"}).exit_code, 2);
  EXPECT_EQ(elek_command({"memory", "--arch", "resnet18", "--map", folder / "none/map.svg"}).exit_code, 3);
}

TEST(MemoryCommand, TheLabComparesTheStrategies) {
  const Folder folder;
  const auto json = elek_command({"memory", "--model", tiny_model(folder), "--lab", "--json"}).json();
  ASSERT_EQ(json.at("lab").size(), 3U);
  const auto& pass = json.at("lab").at(0).at("rows");
  ASSERT_EQ(pass.size(), 5U);
  EXPECT_EQ(pass.at(4).at("strategy"), "arena");
  EXPECT_EQ(pass.at(4).at("reserved_bytes"), json.at("arena_bytes"));
  EXPECT_EQ(json.at("lab").at(2).at("events"), 100'000);
}

TEST(MemoryCommand, WhatGoesWrongOnPurposeGoesWrong) {
  const auto out = elek_command({"memory", "--show", "out-of-memory", "--json"}).json();
  EXPECT_GT(out.at("requested_bytes").get<size_t>(), out.at("largest_free_bytes").get<size_t>());
  const auto pieces = elek_command({"memory", "--show", "fragmentation", "--json"}).json().at("in_pieces");
  EXPECT_EQ(pieces.at("free_bytes").get<size_t>(), 6 * pieces.at("largest_hole_bytes").get<size_t>());
  const auto race = elek_command({"memory", "--show", "stream-race", "--json"}).json().at("runs");
  EXPECT_NE(race.at(0).at("sum"), race.at(0).at("expected")) << "a pool that ignores streams";
  EXPECT_EQ(race.at(1).at("sum"), race.at(1).at("expected")) << "ours";
}

}  // namespace
}  // namespace elek::test
