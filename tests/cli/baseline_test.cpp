// SPDX-License-Identifier: Apache-2.0
// elek bench --baseline: the statistics on times that are made up, and the command on two networks of which one does far more
// work than the other.
#include "tests/cli/command.h"

namespace elek::test {
namespace {

std::string network(const Folder& folder, const std::string& name, const std::string& width) {
  std::string path = folder / (name + ".safetensors");
  EXPECT_EQ(elek_command({"prepare", "--arch", "cifar_resnet8", "--random", "1", "--width", width, "--out", path, "--quiet"})
                .exit_code,
            0);
  return path;
}

Outcome bench(const std::string& model, const std::vector<std::string>& more) {
  std::vector<std::string> words{"bench", "--model", model, "--threads", "1", "--seconds", "0.2"};
  words.insert(words.end(), more.begin(), more.end());
  return elek_command(words);
}

/// Eight times the width is far above any noise.
TEST(Baseline, AWiderNetworkIsSlowerInTurnsAndAgainstAFile) {
  const Folder folder;
  const std::string small = network(folder, "small", "8"), large = network(folder, "large", "64");
  const Outcome in_turns = bench(large, {"--baseline", small, "--json"});
  EXPECT_EQ(in_turns.exit_code, 6) << in_turns.err;
  EXPECT_THAT(in_turns.err, ::testing::HasSubstr("--fail-above allows 3.0 %"));
  EXPECT_GT(in_turns.json().at("baseline").at("low").get<double>(), 1.03);
  EXPECT_TRUE(in_turns.json().at("baseline").at("in_turns").get<bool>());
  const Outcome faster = bench(small, {"--baseline", large, "--json"});
  EXPECT_EQ(faster.exit_code, 0) << faster.err;
  EXPECT_LT(faster.json().at("baseline").at("high").get<double>(), 1);
  const std::string file = folder / "base.json";
  write_text(file, bench(small, {"--json"}).out);
  EXPECT_EQ(bench(large, {"--baseline", file}).exit_code, 6);
  EXPECT_EQ(bench(small, {"--baseline", file, "--fail-above", "999%"}).exit_code, 0) << "not ten times slower than itself";
}

TEST(Baseline, OtherConditionsAreRefusedAndNamed) {
  const Folder folder;
  const std::string model = network(folder, "net", "8"), file = folder / "base.json";
  const Outcome measured = bench(model, {"--json"});
  write_text(file, measured.out);
  const Outcome other_batch = bench(model, {"--baseline", file, "--batch", "2"});
  EXPECT_EQ(other_batch.exit_code, 2);
  EXPECT_THAT(other_batch.err, ::testing::HasSubstr("batch 1 there and 2 here"));
  nlohmann::json other = measured.json();
  other["conditions"]["processor"] = "another machine";
  write_text(file, other.dump());
  const Outcome other_machine = bench(model, {"--baseline", file});
  EXPECT_EQ(other_machine.exit_code, 2);
  EXPECT_THAT(other_machine.err, ::testing::HasSubstr("another machine"));
}

TEST(Baseline, WhatIsNoBaselineIsAnInputError) {
  const Folder folder;
  const std::string model = network(folder, "net", "8"), file = folder / "base.json";
  for (const std::string text : {R"({"command": "eval"})", R"({"command": "bench"})", "{", "{}"}) {
    write_text(file, text);
    EXPECT_EQ(bench(model, {"--baseline", file}).exit_code, 3) << text;
  }
  nlohmann::json bad = bench(model, {"--json"}).json();
  for (const auto& blocks :
       {nlohmann::json::array(), nlohmann::json{1.0}, nlohmann::json{1.0, -1.0}, nlohmann::json{1.0, "x"}}) {
    bad["block_ms"] = blocks;
    write_text(file, bad.dump());
    EXPECT_EQ(bench(model, {"--baseline", file}).exit_code, 3) << blocks;
  }
  for (const std::string share : {"3", "%", "-1%", "nan%", "3 %"}) {
    EXPECT_EQ(bench(model, {"--baseline", model, "--fail-above", share}).exit_code, 2) << share;
  }
  EXPECT_EQ(bench(model, {"--fail-above", "3%"}).exit_code, 2) << "without a baseline";
}

/// The form that github-action-benchmark reads: a list of name, unit, value, range and extra.
TEST(Baseline, WritesTheFormOfBenchmarkActions) {
  const Folder folder;
  const std::string model = network(folder, "net", "8"), file = folder / "action.json";
  ASSERT_EQ(bench(model, {"--action-json", file}).exit_code, 0);
  const auto entries = nlohmann::json::parse(read_text(file));
  ASSERT_EQ(entries.size(), 2U);
  for (const auto& entry : entries) {
    EXPECT_TRUE(entry.at("name").is_string() && entry.at("unit").is_string() && entry.at("range").is_string());
    EXPECT_TRUE(entry.at("extra").is_string());
    EXPECT_GT(entry.at("value").get<double>(), 0);
  }
  EXPECT_EQ(bench(model, {"--action-json", model}).exit_code, 2) << "would replace the model";
}

}  // namespace
}  // namespace elek::test
