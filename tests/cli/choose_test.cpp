// SPDX-License-Identifier: Apache-2.0
// --steps and --replay through the command: rounds end at the same counts, watch again in between and change the choice. A
// replay keeps the same channels in another checkpoint and refuses another graph.
#include <map>

#include "models/model_file.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

nlohmann::json cut(const Words& what, const std::string& model, const std::string& out) {
  const Outcome outcome = elek_command(joined(what, {"--model", model, "--calibrate", "synthetic:40:1", "--evaluate",
                                                     "synthetic:10:2", "--batch", "20", "--out", out, "--json"}));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.json();
}

std::map<std::string, std::vector<int64_t>> kept(const std::string& path) {
  std::map<std::string, std::vector<int64_t>> lists;
  const Model model = load_model(path, host_resource());
  for (const Cut& each : model.history.back().cuts) lists[each.name] = each.kept;
  return lists;
}

int64_t phases(const nlohmann::json& report, const std::string& name) {
  int64_t count = 0;
  for (const auto& phase : report.at("phases")) count += phase.at("name") == name ? 1 : 0;
  return count;
}

std::string checkpoint(const Folder& folder, const std::string& seed, const std::string& width = "8") {
  const std::string path = folder / ("net" + seed + width);
  EXPECT_EQ(elek_command({"prepare", "--arch", "cifar_resnet20", "--width", width, "--input", "3,16,16", "--random", seed,
                          "--out", path, "--quiet"})
                .exit_code,
            0);
  return path;
}

TEST(Steps, RoundsEndAtTheSameCountsWithSumsTakenAgain) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto once =
      cut({"coverage", "--metric", "std-consumer", "--channels", "0.5", "--repair", "bn"}, model, folder / "once");
  const auto rounds = cut({"coverage", "--metric", "std-consumer", "--channels", "0.5", "--repair", "bn", "--steps", "3"},
                          model, folder / "rounds");
  EXPECT_EQ(rounds.at("parameters"), once.at("parameters"));
  EXPECT_EQ(rounds.at("cuts"), once.at("cuts"));
  EXPECT_EQ(rounds.at("target"), once.at("target").get<std::string>() + " steps=3");
  EXPECT_EQ(phases(rounds, "collection"), 3);
  EXPECT_EQ(phases(rounds, "pruning"), 3);  // each checked against the masked network
  EXPECT_EQ(phases(rounds, "repair"), 3);
  EXPECT_NE(kept(folder / "rounds"), kept(folder / "once"));  // otherwise the rounds took no new sums
  const Model made = load_model(folder / "rounds", host_resource());
  ASSERT_EQ(made.history.size(), 2U);  // prepared, then one cut with the dense network's channel numbers
  EXPECT_EQ(made.history[1].calibration_samples, 40);
}

TEST(Steps, WeightsGoInRoundsToo) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Words what{"wanda", "--sparsity", "0.6", "--repair", "none"};
  const auto once = cut(what, model, folder / "once");
  const auto rounds = cut(joined(what, {"--steps", "2"}), model, folder / "rounds");
  EXPECT_EQ(rounds.at("nonzero_parameters"), once.at("nonzero_parameters"));
  EXPECT_EQ(rounds.at("cuts"), once.at("cuts"));
}

TEST(Steps, GlobalScopeTakesTheShareOfAll) {
  const Folder folder;
  const auto report = cut({"coverage", "--metric", "std-consumer", "--channels", "0.4", "--scope", "global", "--round-to", "1",
                           "--steps", "2", "--repair", "none"},
                          tiny_model(folder), folder / "o");
  int64_t removed = 0;
  for (const auto& each : report.at("cuts")) removed += each.at("channels").get<int64_t>() - each.at("kept").get<int64_t>();
  EXPECT_EQ(removed, 90);  // 0.4 of 4 * 8 + 4 * 16 + 4 * 32 = 224
}

TEST(RefitTargetOption, IsUsedAndReported) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Words what{"coverage", "--metric", "std-consumer", "--channels", "0.5", "--refit-target"};
  const auto layer = cut(joined(what, {"layer"}), model, folder / "layer");
  const auto block = cut(joined(what, {"block"}), model, folder / "block");
  EXPECT_EQ(layer.at("repair"), "refit");
  EXPECT_EQ(block.at("repair"), "refit target=block");
  const Model made = load_model(folder / "block", host_resource());
  EXPECT_EQ(made.history.back().repair, "refit target=block");
  EXPECT_NE(hash(made), hash(load_model(folder / "layer", host_resource())));
  const Outcome wrong = elek_command(joined(
      what, {"sum", "--model", model, "--calibrate", "synthetic:4:1", "--evaluate", "synthetic:4:2", "--out", folder / "o"}));
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("expected layer or block"));
}

TEST(Default, IsTheMetricRefitWithItsOwnScopeUnlessSumsAreAsked) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Words half{"coverage", "--channels", "0.5", "--repair", "none"};
  const auto plain = cut(half, model, folder / "plain");
  EXPECT_EQ(plain.at("criterion"), "refit");
  EXPECT_EQ(plain.at("target"), "channels=0.5 scope=macs round-to=auto");
  EXPECT_EQ(load_model(folder / "plain", host_resource()).history.back().calibration_samples, 40);  // looked at, without sums
  (void)cut(joined(half, {"--metric", "refit", "--scope", "global"}), model, folder / "said");
  EXPECT_EQ(kept(folder / "plain"), kept(folder / "said"));
  const auto layer = cut(joined(half, {"--scope", "layer"}), model, folder / "layer");
  EXPECT_EQ(layer.at("criterion"), "refit");
  EXPECT_LE(plain.at("macs").at("pruned"), layer.at("macs").at("pruned"));  // the budget is what equal shares leave
  const auto sums = cut(joined(half, {"--save-statistics", folder / "sums"}), model, folder / "o");
  EXPECT_EQ(sums.at("criterion"), "std-consumer");
  EXPECT_EQ(sums.at("target"), "channels=0.5 scope=layer round-to=auto");
  EXPECT_EQ(cut(joined(half, {"--statistics", folder / "sums"}), model, folder / "o").at("criterion"), "std-consumer");
  EXPECT_EQ(cut(joined(half, {"--why", "relu"}), model, folder / "o").at("criterion"), "std-consumer");
}

TEST(Steps, TheBudgetOfMacsIsReachedInRoundsToo) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Words what{"coverage", "--channels", "0.5", "--round-to", "1", "--repair", "bn"};
  const auto once = cut(what, model, folder / "once"), rounds = cut(joined(what, {"--steps", "2"}), model, folder / "rounds");
  const double budget = cut(joined(what, {"--scope", "layer"}), model, folder / "equal").at("macs").at("pruned");
  for (const auto& report : {once, rounds}) {
    EXPECT_EQ(report.at("criterion"), "refit");
    EXPECT_LE(report.at("macs").at("pruned"), budget);
    EXPECT_GE(report.at("macs").at("pruned"), 0.9 * budget);  // one step of the narrowest groups is up to an eighth of a layer
  }
  EXPECT_NE(kept(folder / "rounds"), kept(folder / "once"));
}

TEST(Steps, APatternHasNoParts) {
  const Folder folder;
  const Outcome outcome = elek_command({"wanda", "--model", "m", "--calibrate", "synthetic:1", "--evaluate", "synthetic:1",
                                        "--out", folder / "o", "--pattern", "2:4", "--steps", "2"});
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("--steps"));
}

TEST(Replay, CutsAnotherCheckpointTheSameWay) {
  const Folder folder;
  const std::string first = checkpoint(folder, "1");
  const std::string second = checkpoint(folder, "2");
  (void)cut({"coverage", "--metric", "std-consumer", "--channels", "0.5", "--repair", "none"}, first, folder / "cut");
  const auto report = cut({"coverage", "--replay", folder / "cut", "--repair", "bn"}, second, folder / "again");
  EXPECT_EQ(kept(folder / "again"), kept(folder / "cut"));
  EXPECT_EQ(report.at("criterion"), "std-consumer");
  EXPECT_EQ(phases(report, "collection"), 0);
  const Model again = load_model(folder / "again", host_resource());
  EXPECT_EQ(again.history.back().replayed, elek_command({"info", "--model", folder / "cut", "--json"}).json().at("hash"));
  EXPECT_EQ(again.history.back().calibration_samples, 0);  // nothing was watched; only the repair used images
  EXPECT_EQ(again.history.back().repair_samples, 40);
  // Replaying the network's own cut gives the same network, as it was before the repair.
  (void)cut({"coverage", "--replay", folder / "cut", "--repair", "none"}, first, folder / "same");
  EXPECT_EQ(hash(load_model(folder / "same", host_resource())), hash(load_model(folder / "cut", host_resource())));
  // Masks of weights too.
  (void)cut({"wanda", "--sparsity", "0.5"}, first, folder / "sparse");
  const auto sparse = cut({"wanda", "--replay", folder / "sparse"}, second, folder / "sparse2");
  EXPECT_EQ(sparse.at("cuts").size(), 19U);  // every convolution
}

TEST(Replay, WhatDoesNotFitIsRefused) {
  const Folder folder;
  const std::string model = checkpoint(folder, "1");
  (void)cut({"coverage", "--metric", "std-consumer", "--channels", "0.5", "--repair", "none"}, model, folder / "cut");
  const auto refused = [&](const Words& what, const std::string& of, int exit_code, const std::string& says) {
    const Outcome outcome = elek_command(joined(
        {"coverage", "--calibrate", "synthetic:4", "--evaluate", "synthetic:4:2", "--model", of, "--out", folder / "o"}, what));
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(says));
  };
  refused({"--replay", folder / "cut"}, checkpoint(folder, "1", "12"), 3, "another network");
  refused({"--replay", folder / "cut"}, folder / "cut", 3, "another network");
  refused({"--replay", model}, model, 3, "no cut to replay");
  refused({"--replay", folder / "none"}, model, 3, "none");
  refused({"--replay", folder / "cut", "--channels", "0.3"}, model, 2, "excludes");
  refused({"--replay", folder / "cut", "--metric", "rms"}, model, 2, "excludes");
  refused({"--replay", folder / "cut", "--steps", "2"}, model, 2, "excludes");
}

}  // namespace
}  // namespace elek::test
