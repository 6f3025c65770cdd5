// SPDX-License-Identifier: Apache-2.0
// elek sweep: each of its cuts is the cut that coverage or wanda makes alone, although all share one calibration. Errors are
// computed from the images, the written files can be read, and impossible requests are refused before any work.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <sstream>

#include "elek/data.h"
#include "models/model_file.h"
#include "tests/cli/command.h"
#include "tests/support/models.h"

namespace elek::test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using Words = std::vector<std::string>;

constexpr const char* kEvaluate = "synthetic:50:2";

json run_json(Words words) {
  words.emplace_back("--json");
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << ::testing::PrintToString(words) << "\n" << outcome.err;
  return outcome.json();
}

Words words_of(const std::string& command, const std::string& model, const Words& more) {
  Words words{command, "--model", model, "--calibrate", "synthetic:60:1", "--evaluate", kEvaluate, "--batch", "20"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

const json& point_of(const json& sweep, const std::string& criterion, double share, const std::string& group = "") {
  static const json kNone;
  for (const json& point : sweep.at("points")) {
    if (point.at("criterion") == criterion && point.at("share") == share && point.value("group", "") == group) return point;
  }
  ADD_FAILURE() << "no point " << criterion << " " << share << " " << group;
  return kNone;
}

/// A network whose names would break a careless CSV or SVG.
std::string oddly_named_model(const Folder& folder) {
  Model model;
  Graph& g = model.graph;
  ValueId x = g.add("input", InputAttrs{{3, 8, 8}}, {});
  for (const std::string name : {"a,\"b\"", "c<d>&e"}) {
    x = g.add(name + ".conv", Conv2dAttrs{.out_channels = 8, .kernel = 3, .padding = 1}, {x});
    x = g.add(name + ".bn", BatchNormAttrs{}, {x});
    x = g.add(name, ReluAttrs{}, {x});
  }
  x = g.add("flatten", FlattenAttrs{}, {g.add("pool", GlobalAvgPoolAttrs{}, {x})});
  g.add("fc", LinearAttrs{.out_features = 10, .bias = true}, {x});
  model.architecture = "odd & <named>";
  model.parameters = tiny_parameters(g, 1);
  model.preprocessing = {{0.5F, 0.5F, 0.5F}, {0.25F, 0.25F, 0.25F}};
  const std::string path = folder / "odd.safetensors";
  save_model(model, path);
  return path;
}

TEST(Sweep, OneCalibrationGivesWhatEachCutGivesAlone) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const json sweep = run_json(
      words_of("sweep", model,
               {"--metric", "std-consumer,positions,wanda,magnitude,random", "--channels", "0.25,0.5", "--repair", "bn"}));
  ASSERT_EQ(sweep.at("points").size(), 10U);
  int64_t collections = 0;
  for (const json& phase : sweep.at("phases")) collections += phase.at("name") == "collection" ? 1 : 0;
  EXPECT_EQ(collections, 1);
  const std::vector<std::pair<std::string, double>> cuts{
      {"std-consumer", 0.5}, {"positions", 0.25}, {"wanda", 0.5}, {"magnitude", 0.25}};
  for (const auto& [criterion, share] : cuts) {
    const bool wanda = criterion == "wanda";
    Words more{"--channels", std::to_string(share), "--repair", "bn", "--out", folder / "out.safetensors"};
    if (!wanda) more.insert(more.end(), {"--metric", criterion});
    const json alone = run_json(words_of(wanda ? "wanda" : "coverage", model, more));
    const json& point = point_of(sweep, criterion, share);
    EXPECT_EQ(point.at("macs"), alone.at("macs").at("pruned"));
    EXPECT_EQ(point.at("parameters"), alone.at("parameters").at("pruned"));
    for (size_t r = 0; r < 2; ++r) {
      const json& result = point.at("results").at(r);
      const std::string stage = r == 0 ? "pruned" : "repaired";
      EXPECT_EQ(result.at("repair"), r == 0 ? "none" : "bn");
      EXPECT_EQ(result.at("accuracy"), alone.at("accuracy").at(stage)) << criterion << share;
      EXPECT_EQ(result.at("loss"), alone.at("loss").at(stage)) << criterion << share << ": other channels went";
    }
  }
}

TEST(Sweep, RandomIsTheMeanAndSpreadOfItsDraws) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const json sweep = run_json(
      words_of("sweep", model, {"--metric", "random", "--channels", "0.5", "--repair", "none", "--draws", "3", "--seed", "4"}));
  EXPECT_EQ(sweep.at("statistics_bytes"), 0) << "random looks at nothing";
  const json& result = point_of(sweep, "random", 0.5).at("results").at(0);
  ASSERT_EQ(result.at("draws").size(), 3U);
  double mean = 0, loss = 0, squares = 0;
  for (int draw = 0; draw < 3; ++draw) {
    const json alone = run_json(words_of("coverage", model,
                                         {"--metric", "random", "--channels", "0.5", "--repair", "none", "--seed",
                                          std::to_string(4 + draw), "--out", folder / "out.safetensors"}));
    const double accuracy = alone.at("accuracy").at("pruned");
    EXPECT_EQ(result.at("draws").at(static_cast<size_t>(draw)), accuracy);
    mean += accuracy / 3;
    loss += alone.at("loss").at("pruned").get<double>() / 3;
    squares += accuracy * accuracy;
  }
  EXPECT_NEAR(result.at("accuracy").get<double>(), mean, 1e-12);
  EXPECT_NEAR(result.at("loss").get<double>(), loss, 1e-12);
  EXPECT_NEAR(result.at("spread").get<double>(), std::sqrt(std::max(0.0, squares - 3 * mean * mean) / 2), 1e-7);
}

/// Which images the model gets right, computed from the logits it writes.
std::vector<double> hits_of(const Folder& folder, const std::string& model) {
  const std::string out = folder / "logits.safetensors";
  (void)run_json({"run", "--model", model, "--data", kEvaluate, "--batch", "20", "--out", out});
  const auto file = SafetensorsFile::open(out);
  std::vector<float> logits(file.at("logits").bytes.size() / sizeof(float));
  std::memcpy(logits.data(), file.at("logits").bytes.data(), file.at("logits").bytes.size());
  const auto data = parse_data(kEvaluate, {3, 16, 16});
  std::vector<double> hits;
  for (int64_t i = 0; i < data->size(); ++i) {
    const auto first = logits.begin() + 10 * i;
    hits.push_back(std::max_element(first, first + 10) - first == data->label(i) ? 1.0 : 0.0);
  }
  return hits;
}

TEST(Sweep, ErrorsAreThoseOfTheImagesAndDifferencesArePaired) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::array<std::string, 2> criteria{"std-consumer", "magnitude"};
  const json sweep = run_json(
      words_of("sweep", model, {"--metric", criteria[0] + "," + criteria[1], "--channels", "0.5", "--repair", "none"}));
  std::map<std::string, std::vector<double>> hits;
  hits["dense"] = hits_of(folder, model);
  for (const std::string& criterion : criteria) {
    const std::string out = folder / (criterion + ".safetensors");
    (void)run_json(words_of("coverage", model, {"--metric", criterion, "--channels", "0.5", "--repair", "none", "--out", out}));
    hits[criterion] = hits_of(folder, out);
  }
  const auto mean = [](const std::vector<double>& v) {
    double sum = 0;
    for (const double each : v) sum += each;
    return sum / static_cast<double>(v.size());
  };
  const auto error = [&](const std::vector<double>& v) {  // sqrt(sum (v - mean)^2 / (n (n - 1)))
    double squares = 0;
    for (const double each : v) squares += (each - mean(v)) * (each - mean(v));
    return std::sqrt(squares / static_cast<double>(v.size() * (v.size() - 1)));
  };
  const std::string best = mean(hits[criteria[0]]) >= mean(hits[criteria[1]]) ? criteria[0] : criteria[1];
  int64_t told_apart = 0;
  for (const std::string& criterion : criteria) {
    const json& result = point_of(sweep, criterion, 0.5).at("results").at(0);
    EXPECT_NEAR(result.at("accuracy").get<double>(), mean(hits[criterion]), 1e-12);
    EXPECT_NEAR(result.at("standard_error").get<double>(), error(hits[criterion]), 1e-12);
    for (const auto& [key, other] : {std::pair<std::string, std::string>{"against_dense", "dense"}, {"against_best", best}}) {
      std::vector<double> differences;
      for (size_t i = 0; i < hits[criterion].size(); ++i) differences.push_back(hits[criterion][i] - hits[other][i]);
      EXPECT_NEAR(result.at(key).at("difference").get<double>(), mean(differences), 1e-12) << key;
      EXPECT_NEAR(result.at(key).at("standard_error").get<double>(), error(differences), 1e-12) << key;
      told_apart += error(differences) > 0 ? 1 : 0;
    }
    EXPECT_TRUE(result.at("against_random").is_null());
  }
  EXPECT_GE(told_apart, 2) << "networks that answer alike everywhere would test nothing";
}

TEST(Sweep, TheMetricRefitCutsAsCoverageDoesFromTheOneCalibration) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const std::string scope : {"layer", "global"}) {
    const json sweep = run_json(words_of("sweep", model,
                                         {"--metric", "refit,std-consumer", "--scope", scope, "--channels", "0.25,0.5",
                                          "--repair", "none", "--images", folder / "images.csv"}));
    ASSERT_EQ(sweep.at("points").size(), 4U);
    std::vector<double> losses;
    for (const double share : {0.25, 0.5}) {
      const json alone = run_json(words_of("coverage", model,
                                           {"--metric", "refit", "--scope", scope, "--channels", share == 0.5 ? "0.5" : "0.25",
                                            "--repair", "none", "--out", folder / "out.safetensors"}));
      const json& point = point_of(sweep, "refit", share);
      EXPECT_EQ(point.at("macs"), alone.at("macs").at("pruned")) << scope << share;
      EXPECT_EQ(point.at("parameters"), alone.at("parameters").at("pruned")) << scope << share;
      EXPECT_EQ(point.at("results").at(0).at("loss"), alone.at("loss").at("pruned")) << scope << share;
      losses.push_back(point.at("results").at(0).at("loss"));
      losses.push_back(point_of(sweep, "std-consumer", share).at("results").at(0).at("loss"));
    }
    std::sort(losses.begin(), losses.end());
    EXPECT_EQ(std::unique(losses.begin(), losses.end()), losses.end()) << "two cuts alike would test nothing";
  }
}

TEST(Sweep, SensitivityCutsOneGroupAlone) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const json sweep = run_json(words_of(
      "sweep", model,
      {"--sensitivity", "--metric", "std-consumer", "--channels", "0.5", "--repair", "none", "--ignore", "layer2.0.conv1"}));
  const json whole = run_json(
      words_of("coverage", model,
               {"--metric", "std-consumer", "--channels", "0.5", "--repair", "none", "--out", folder / "all.safetensors"}));
  ASSERT_EQ(sweep.at("points").size() + 1, whole.at("cuts").size()) << "every group but the ignored one";
  for (const size_t at : {size_t{0}, sweep.at("points").size() - 1}) {
    const json& point = sweep.at("points").at(at);
    const std::string group = point.at("group");
    const json alone = run_json(words_of("coverage", model,
                                         {"--metric", "std-consumer", "--channels", "0", "--layer", group + "=0.5", "--repair",
                                          "none", "--out", folder / "one.safetensors"}));
    ASSERT_EQ(alone.at("cuts").size(), 1U);
    EXPECT_EQ(point.at("macs"), alone.at("macs").at("pruned"));
    EXPECT_EQ(point.at("results").at(0).at("loss"), alone.at("loss").at("pruned"));
  }
}

/// Fields of each line, by RFC 4180.
std::vector<Words> parse_csv(const std::string& text) {
  std::vector<Words> lines;
  Words line;
  std::string field;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"')
        field += c;
      else if (i + 1 < text.size() && text[i + 1] == '"')
        field += text[++i];
      else
        quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',' || c == '\n') {
      line.push_back(std::exchange(field, ""));
      if (c == '\n') lines.push_back(std::exchange(line, {}));
    } else {
      field += c;
    }
  }
  EXPECT_TRUE(!quoted && line.empty() && field.empty()) << "the last line does not end";
  return lines;
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++found;
  return found;
}

TEST(Sweep, TheImagesFileSaysWhichNetworksWereRight) {
  const Folder folder;
  const json sweep = run_json(words_of("sweep", tiny_model(folder),
                                       {"--metric", "std-consumer,random", "--draws", "4", "--channels", "0.5", "--repair",
                                        "bn", "--images", folder / "images.csv"}));
  const std::vector<Words> lines = parse_csv(read_text(folder / "images.csv"));
  ASSERT_EQ(lines.size(), 51U);
  EXPECT_EQ(lines[0],
            (Words{"image", "dense", "std-consumer 0.5 none", "std-consumer 0.5 bn", "random 0.5 none", "random 0.5 bn"}));
  std::vector<double> means(lines[0].size(), 0.0);
  for (size_t i = 1; i < lines.size(); ++i) {
    EXPECT_EQ(lines[i][0], std::to_string(i - 1));
    for (size_t c = 1; c < means.size(); ++c) means[c] += std::stod(lines[i][c]) / 50;
  }
  const auto accuracy = [&](const std::string& criterion, size_t r) {
    return point_of(sweep, criterion, 0.5).at("results").at(r).at("accuracy").get<double>();
  };
  EXPECT_NEAR(means[1], sweep.at("dense").at("accuracy").get<double>(), 1e-12);
  EXPECT_NEAR(means[3], accuracy("std-consumer", 1), 1e-12);
  EXPECT_NEAR(means[5], accuracy("random", 1), 1e-12);  // quarters are exact
}

TEST(Sweep, TheFilesHoldWhatTheJsonSaysWhateverTheNames) {
  const Folder folder;
  const std::string model = oddly_named_model(folder);
  const json sweep = run_json(words_of("sweep", model,
                                       {"--sensitivity", "--metric", "rms,magnitude", "--channels", "0.25,0.5", "--repair",
                                        "bn", "--csv", folder / "s.csv", "--plot", folder / "s.svg"}));
  ASSERT_EQ(sweep.at("points").size(), 8U);  // two groups, two criteria, two shares
  const std::vector<Words> lines = parse_csv(read_text(folder / "s.csv"));
  ASSERT_EQ(lines.size(), 17U);
  size_t at = 1;
  for (const json& point : sweep.at("points")) {
    for (const json& result : point.at("results")) {
      const Words& line = lines[at++];
      ASSERT_EQ(line.size(), lines[0].size());
      std::map<std::string, std::string> row;
      for (size_t f = 0; f < line.size(); ++f) row[lines[0][f]] = line[f];
      EXPECT_EQ(row["criterion"], point.at("criterion"));
      EXPECT_EQ(row["group"], point.at("group"));
      EXPECT_EQ(row["repair"], result.at("repair"));
      EXPECT_EQ(std::stod(row["accuracy"]), result.at("accuracy").get<double>());
      EXPECT_EQ(std::stoll(row["macs"]), point.at("macs").get<int64_t>());
    }
  }
  const std::string svg = read_text(folder / "s.svg");
  EXPECT_EQ(count(svg, "<path "), 8U) << "a line for each criterion and share in each of two panels";
  for (const char* text :
       {"a,&quot;b&quot;", "c&lt;d&gt;&amp;e", "odd &amp; &lt;named&gt;", ">rms 25 %<", ">magnitude 50 %<", ">dense, "}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
  EXPECT_EQ(count(svg, "<"), count(svg, ">"));
  EXPECT_THAT(svg, ::testing::Not(HasSubstr("nan")));
}

TEST(Sweep, WhatCannotBeMeantIsRefused) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto code = [&](const Words& more) { return elek_command(words_of("sweep", model, more)).exit_code; };
  EXPECT_EQ(code({"--metric", "nonsense"}), 2);
  EXPECT_EQ(code({"--channels", "0.3,1"}), 2);
  EXPECT_EQ(code({"--channels", "0"}), 2);
  EXPECT_EQ(code({"--channels", "0.001", "--metric", "magnitude", "--repair", "none"}), 2) << "removes nothing";
  EXPECT_EQ(code({"--repair", "glue"}), 2);
  EXPECT_EQ(code({"--sensitivity", "--scope", "global"}), 2);
  EXPECT_EQ(code({"--plot", folder / "x.png"}), 2);
  EXPECT_EQ(code({"--plot", folder / "none/x.svg"}), 3);
  EXPECT_EQ(code({"--csv", folder / "none/x.csv"}), 3);
  EXPECT_EQ(folder.files(), (Words{"tiny.safetensors"}));
}

}  // namespace
}  // namespace elek::test
