// SPDX-License-Identifier: Apache-2.0
// --why: the numbers of a group are those of the statistics file, ranks follow the scores, and the channels that stay are those
// that the cut with the same options keeps.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <sstream>

#include "core/sums.h"
#include "elek/model.h"
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

nlohmann::json why(const Words& what, const std::string& model, const Words& more) {
  const Outcome outcome =
      elek_command(joined(joined(what, {"--model", model, "--calibrate", "synthetic:40:1", "--batch", "20", "--json"}), more));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.json();
}

void expect_ranks(const nlohmann::json& told) {
  const auto scores = told.at("scores").get<std::vector<double>>();
  const auto rank = told.at("rank").get<std::vector<size_t>>();
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return scores[a] < scores[b]; });
  for (size_t i = 0; i < order.size(); ++i) EXPECT_EQ(rank.at(order[i]), i + 1);
}

TEST(Why, AGroupsSumsScoresRanksAndFates) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Words what{"coverage", "--channels", "0.5"};
  const std::string small = folder / "small.safetensors";
  const auto report = why(what, model,
                          {"--why", "layer2.0", "--why", "layer3.1.relu1", "--save-statistics", folder / "sums", "--evaluate",
                           "synthetic:10:2", "--out", small, "--repair", "none"});
  ASSERT_EQ(report.at("why").size(), 2U);
  const auto& told = report.at("why").at(0);
  EXPECT_EQ(told.at("name"), "layer2.0");
  EXPECT_EQ(report.at("why").at(1).at("name"), "layer3.1.relu1");
  expect_ranks(told);
  // The sums are those of the file; std-consumer follows from them and the printed weights.
  const Statistics sums = load_statistics(folder / "sums");
  std::vector<double> squares(16, 0.0);
  ASSERT_EQ(told.at("sources").size(), 3U);  // the three blocks' outputs
  for (const auto& source : told.at("sources")) {
    const ValueSums& v = sums.values.at(source.at("name"));
    EXPECT_EQ(source.at("sum").get<std::vector<double>>(), v.sum);
    EXPECT_EQ(source.at("sum_sq").get<std::vector<double>>(), v.sum_sq);
    for (size_t c = 0; c < 16; ++c) {
      EXPECT_EQ(source.at("active").at(c).get<int64_t>(), v.active[c]);
      const double n = static_cast<double>(v.count);
      const double mean = v.sum[c] / n;
      squares[c] += std::max(0.0, v.sum_sq[c] / n - mean * mean) * source.at("weights_sq").at(c).get<double>();
    }
  }
  for (size_t c = 0; c < 16; ++c) {
    const double score = told.at("scores").at(c);
    EXPECT_NEAR(score, std::sqrt(squares[c]), 1e-12 * score) << c;
  }
  const Model cut_model = load_model(small, host_resource());
  for (const Cut& cut : cut_model.history.back().cuts) {
    if (cut.name != "layer2.0") continue;
    EXPECT_EQ(told.at("scores").get<std::vector<double>>(), cut.scores);
    for (int64_t c = 0; c < 16; ++c) {
      const bool kept = std::binary_search(cut.kept.begin(), cut.kept.end(), c);
      EXPECT_EQ(told.at("kept").at(static_cast<size_t>(c)).get<int64_t>(), kept ? 1 : 0) << c;
    }
  }
}

TEST(Why, EveryCriterionExplainsItselfIn100Columns) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  std::vector<Words> commands;
  for (const char* metric : {"std-consumer", "positions", "rms", "std", "frequency", "normalized_mean", "mean_absolute",
                             "combined", "magnitude", "magnitude-l1", "random"}) {
    commands.push_back({"coverage", "--metric", metric});
  }
  commands.push_back({"coverage", "--metric", "positions", "--tap", "conv"});
  commands.push_back({"wanda", "--channels", "0.3"});
  commands.push_back({"wanda", "--channels", "0.3", "--metric", "wanda-seed"});
  for (const Words& what : commands) {
    const Outcome outcome = elek_command(
        joined(what, {"--model", model, "--calibrate", "synthetic:20:1", "--batch", "20", "--why", "layer3.0", "--quiet"}));
    EXPECT_EQ(outcome.exit_code, 0) << ::testing::PrintToString(what) << outcome.err;
  }
  for (const Words& what : {Words{"coverage"}, Words{"coverage", "--metric", "combined"}, Words{"wanda", "--channels", "0.3"},
                            Words{"wanda", "--sparsity", "0.5"}}) {
    const std::string name = what.back() == "0.5" ? "layer3.1.conv1" : "layer3.0";
    const Outcome outcome =
        elek_command(joined(what, {"--model", model, "--calibrate", "synthetic:20:1", "--batch", "20", "--why", name}));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_THAT(outcome.out, HasSubstr(name));
    EXPECT_THAT(outcome.out, ::testing::ContainsRegex("rank +kept"));
    std::istringstream lines(outcome.out.substr(0, outcome.out.find("\nmemory (MB)")));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  }
}

TEST(Why, WandasWeightsAreCountedPerInputChannel) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string out = folder / "o";
  const auto report = why({"wanda", "--sparsity", "0.5"}, model,
                          {"--why", "layer2.1.conv1", "--evaluate", "synthetic:10:2", "--out", out, "--repair", "none"});
  const auto& told = report.at("why").at(0);
  expect_ranks(told);
  const Model made = load_model(out, host_resource());
  const std::span<const float> weights = made.parameter("layer2.1.conv1.weight").f32();  // [16, 16, 3, 3]
  for (size_t c = 0; c < 16; ++c) {
    int64_t kept = 0;
    for (size_t k = 0; k < 16; ++k) {
      for (size_t tap = 0; tap < 9; ++tap) kept += weights[(k * 16 + c) * 9 + tap] != 0 ? 1 : 0;
    }
    EXPECT_EQ(told.at("kept").at(c).get<int64_t>(), kept) << c;
    EXPECT_EQ(told.at("of").at(c).get<int64_t>(), 144);
  }
}

TEST(Why, NamesThatExplainNothingAreRefused) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto refused = [&](const Words& what, const std::string& says) {
    const Outcome outcome = elek_command(joined(what, {"--model", model, "--calibrate", "synthetic:20:1"}));
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(says));
  };
  refused({"coverage", "--why", "layer9"}, "layer9");
  refused({"coverage", "--why", "fc"}, "cannot be cut");
  refused({"coverage", "--why", "layer2.0", "--steps", "2"}, "--steps");
  refused({"wanda", "--why", "layer2.0"}, "has weights that can be cut");
}

}  // namespace
}  // namespace elek::test
