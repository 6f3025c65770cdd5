// SPDX-License-Identifier: Apache-2.0
// --accuracy-drop of coverage and wanda, and elek recommend: what is found is what is written, and judged on held-out images.
#include <filesystem>

#include "tests/cli/command.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words words_of(const std::string& command, const std::string& model, const Words& more) {
  Words words{command, "--model", model, "--calibrate", "synthetic:400:1", "--max-batches", "2", "--batch", "20"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

nlohmann::json json_of(const Words& words) {
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.json();
}

nlohmann::json best_of(const nlohmann::json& found) { return found.at("tried").at(found.at("best").get<size_t>()); }

void expect_refused(const Words& words, const std::string& why) {
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(why));
}

TEST(AccuracyDrop, WritesTheLargestCutFound) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "small.safetensors";
  const auto report = json_of(words_of("coverage", model,
                                       {"--metric", "magnitude", "--evaluate", "synthetic:20:2", "--accuracy-drop", "4",
                                        "--repair", "refit", "--round-to", "1", "--out", out, "--json"}));
  const auto& found = report.at("accuracy_drop");
  EXPECT_EQ(found.at("allowed_points"), 4);
  EXPECT_EQ(found.at("samples"), 360) << "the 40 that calibrate do not judge";
  ASSERT_EQ(found.at("tried").size(), 6U);
  const auto best = best_of(found);
  EXPECT_LE(best.at("lost").get<double>(), 0.04);
  const auto& macs = report.at("macs");
  EXPECT_DOUBLE_EQ(macs.at("pruned").get<double>() / macs.at("dense").get<double>(), best.at("left").get<double>());
  EXPECT_LT(best.at("left").get<double>(), 1);
  EXPECT_TRUE(std::filesystem::exists(out));
}

/// The command that recommend prints makes the cut that recommend measured.
TEST(AccuracyDrop, RecommendNamesTheCommand) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "small.safetensors";
  const auto found = json_of(words_of("recommend", model,
                                      {"--metric", "magnitude,random,wanda", "--hold-out", "synthetic:300:7", "--accuracy-drop",
                                       "5", "--round-to", "1", "--json"}));
  ASSERT_EQ(found.at("metrics").size(), 3U);
  double least = 1;
  for (const auto& metric : found.at("metrics")) {
    EXPECT_EQ(metric.at("samples"), 300);
    if (!metric.at("best").is_null()) least = std::min(least, best_of(metric).at("left").get<double>());
  }
  EXPECT_EQ(found.at("left"), least);
  std::string text = found.at("run");
  Words words;
  for (size_t at = 0; at < text.size();) {
    const size_t space = std::min(text.find(' ', at), text.size());
    words.push_back(text.substr(at, space - at));
    at = space + 1;
  }
  ASSERT_EQ(words.at(0), "elek");
  words.erase(words.begin());
  for (std::string& word : words) word = word == "DATA" ? "synthetic:20:2" : word == "FILE" ? out : word;
  words.insert(words.end(), {"--repair", "refit", "--json"});
  const auto report = json_of(words);
  const auto& macs = report.at("macs");
  EXPECT_DOUBLE_EQ(macs.at("pruned").get<double>() / macs.at("dense").get<double>(), least);
}

TEST(AccuracyDrop, OfWandaIsASparsity) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto report = json_of(words_of(
      "wanda", model, {"--evaluate", "synthetic:20:2", "--accuracy-drop", "100", "--repair", "none", "--dry-run", "--json"}));
  EXPECT_EQ(best_of(report.at("accuracy_drop")).at("removed"), 1 - 1.0 / 64);
  EXPECT_THAT(report.at("target").get<std::string>(), HasSubstr("0.984375"));
}

/// Without labels the loss is the share of images that get another class.
TEST(AccuracyDrop, NeedsNoLabels) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  std::filesystem::create_directories(folder / "photos");
  for (int i = 0; i < 6; ++i) {
    Bytes pixels(size_t{16} * 16 * 3);
    for (size_t j = 0; j < pixels.size(); ++j) pixels[j] = static_cast<uint8_t>(j * static_cast<size_t>(i + 3) % 251);
    write_file(folder / ("photos/" + std::to_string(i) + ".png"), png(16, 16, 3, pixels));
  }
  const Outcome outcome =
      elek_command(words_of("coverage", model,
                            {"--metric", "magnitude", "--evaluate", "synthetic:20:2", "--accuracy-drop", "100", "--repair",
                             "none", "--hold-out", "images:" + (folder / "photos"), "--dry-run", "--json"}));
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto found = outcome.json().at("accuracy_drop");
  EXPECT_EQ(found.at("labels"), false);
  EXPECT_EQ(found.at("samples"), 6);
  EXPECT_THAT(outcome.err, HasSubstr("another class than from the dense network"));
}

TEST(AccuracyDrop, ExcludesTargetsAndNeedsImages) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "small.safetensors";
  const Words end{"--evaluate", "synthetic:20:2", "--accuracy-drop", "1", "--out", out};
  for (const Words& other :
       std::vector<Words>{{"--channels", "0.3"}, {"--macs", "0.5"}, {"--steps", "2"}, {"--replay", model}}) {
    Words more = end;
    more.insert(more.end(), other.begin(), other.end());
    expect_refused(words_of("coverage", model, more), "excludes");
  }
  expect_refused({"coverage", "--model", model, "--calibrate", "synthetic:240:1", "--max-batches", "2", "--batch", "30",
                  "--evaluate", "synthetic:20:2", "--accuracy-drop", "1", "--out", out},
                 "180 are left to judge the loss; expected at least 200");
  expect_refused(words_of("coverage", model, {"--evaluate", "synthetic:20:2", "--hold-out", "synthetic:9:1", "--out", out}),
                 "--accuracy-drop");
  expect_refused(words_of("coverage", model, {"--accuracy-drop", "1", "--save-statistics", out}), "--out or --dry-run");
  EXPECT_FALSE(std::filesystem::exists(out));
}

}  // namespace
}  // namespace elek::test
