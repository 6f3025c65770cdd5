// SPDX-License-Identifier: Apache-2.0
// The whole flow on small networks and on the shipped one: prepare, eval, run, coverage, wanda, info, bench; and the JSON
// fields that scripts rely on.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>

#include "elek/data.h"
#include "models/model_file.h"
#include "models/safetensors.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Words = std::vector<std::string>;

nlohmann::json run_json(Words words) {
  words.emplace_back("--json");
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << ::testing::PrintToString(words) << "\n" << outcome.err;
  return outcome.json();
}

Words cut_words(const std::string& command, const std::string& model, const std::string& out, const Words& more) {
  Words words{command, "--model", model, "--calibrate", "synthetic:60:1", "--evaluate", "synthetic:50:2", "--batch",
              "20",    "--out",   out};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

TEST(Flow, EvalCountsEverySampleOnce) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto all = run_json({"eval", "--model", model, "--data", "synthetic:53:1", "--batch", "10"});
  EXPECT_EQ(all.at("samples"), 53);
  EXPECT_GE(all.at("top1").get<double>(), 0);
  EXPECT_LE(all.at("top1").get<double>(), all.at("top5").get<double>());
  EXPECT_GT(all.at("loss").get<double>(), 0);
  EXPECT_GT(all.at("peak_rss_bytes").get<int64_t>(), 1'000'000);
  EXPECT_EQ(run_json({"eval", "--model", model, "--data", "synthetic:53:1", "--limit", "7"}).at("samples"), 7);
  // Other batch sizes and micro-batches give the same accuracy: 53 = 20 + 33.
  const auto first = run_json({"eval", "--model", model, "--data", "synthetic:53:1[0:20]", "--batch", "7"});
  const auto rest = run_json({"eval", "--model", model, "--data", "synthetic:53:1[20:53]", "--batch", "50"});
  EXPECT_NEAR(20 * first.at("top1").get<double>() + 33 * rest.at("top1").get<double>(), 53 * all.at("top1").get<double>(),
              1e-9);
}

TEST(Flow, WhatDecodedJpegFilesIsSaid) {
  const Folder folder;
  const std::string model = tiny_model(folder), jpegs = std::string(ELEK_TEST_DATA) + "/jpeg/";
  const Outcome run = elek_command({"run", "--model", model, jpegs + "grey.jpg", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.json().at("jpeg_decoder"), jpeg_decoder());
  EXPECT_THAT(run.err, HasSubstr("JPEG files are decoded by " + jpeg_decoder()));
  const Outcome other = elek_command({"run", "--model", model, jpegs + "grey.png", "--json"});
  EXPECT_FALSE(other.json().contains("jpeg_decoder"));
  EXPECT_THAT(other.err, Not(HasSubstr("JPEG")));
}

TEST(Flow, RunWritesLogitsInTheDatasOrder) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto logits = [&](const std::string& data, const std::string& batch) {
    const std::string out = folder / "logits.safetensors";
    (void)run_json({"run", "--model", model, "--data", data, "--batch", batch, "--out", out});
    const auto file = SafetensorsFile::open(out);
    const auto& entry = file.at("logits");
    EXPECT_EQ(entry.dtype, "F32");
    std::vector<float> values(entry.bytes.size() / sizeof(float));
    std::memcpy(values.data(), entry.bytes.data(), entry.bytes.size());
    EXPECT_EQ(entry.shape, (std::vector<int64_t>{static_cast<int64_t>(values.size()) / 10, 10}));
    return values;
  };
  const std::vector<float> all = logits("synthetic:23:5", "10");
  const std::vector<float> part = logits("synthetic:23:5[11:23]", "10");
  ASSERT_EQ(all.size(), 230U);
  ASSERT_EQ(part.size(), 120U);
  for (size_t i = 0; i < part.size(); ++i) {
    // Another place in the batch may mean another order of sums: 2e-5 as for PyTorch's logits.
    EXPECT_TRUE(std::fabs(part[i] - all[110 + i]) <= 2e-5F * (1 + std::fabs(all[110 + i]))) << i;
  }
}

TEST(Flow, ABudgetIsKeptByEveryCommandAndScope) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string out = folder / "small.safetensors";
  for (const char* unit : {"macs", "params"}) {
    for (const auto& [command, more] : {std::pair<std::string, Words>{"coverage", {}},
                                        {"coverage", {"--metric", "magnitude", "--ignore", "conv1"}},
                                        {"coverage", {"--scope", "layer", "--steps", "2"}},
                                        {"wanda", {"--scope", "global"}},
                                        {"wanda", {"--round-to", "4"}}}) {
      Words words = more;
      words.insert(words.end(), {std::string("--") + unit, "0.45"});
      const std::string where = command + ::testing::PrintToString(words);
      const auto cut = run_json(cut_words(command, model, out, words));
      const auto& sizes = cut.at(std::string(unit) == "macs" ? "macs" : "parameters");
      const double share = sizes.at("pruned").get<double>() / sizes.at("dense").get<double>();
      EXPECT_LE(share, 0.45) << where;
      EXPECT_GE(share, 0.38) << where;
      EXPECT_EQ(cut.at("budget").at("left"), sizes.at("pruned")) << where;
      EXPECT_THAT(cut.at("target").get<std::string>(), ::testing::StartsWith(std::string(unit) + "=")) << where;
    }
  }
}

TEST(Flow, CoverageReportsWhatItDid) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string out = folder / "small.safetensors";
  const auto report =
      run_json(cut_words("coverage", model, out, {"--metric", "std-consumer", "--channels", "0.25", "--repair", "bn"}));
  for (const char* stage : {"dense", "pruned", "repaired"}) EXPECT_TRUE(report.at("accuracy").at(stage).is_number()) << stage;
  EXPECT_LT(report.at("parameters").at("pruned").get<int64_t>(), report.at("parameters").at("dense").get<int64_t>());
  EXPECT_LT(report.at("macs").at("pruned").get<int64_t>(), report.at("macs").at("dense").get<int64_t>());
  EXPECT_EQ(report.at("file_bytes").at("pruned").get<uintmax_t>(), fs::file_size(out));
  EXPECT_LE(report.at("equivalence").at("difference").get<double>(), report.at("equivalence").at("bound").get<double>());
  EXPECT_EQ(report.at("samples").at("calibration"), 60);
  EXPECT_EQ(report.at("samples").at("evaluation"), 50);
  EXPECT_EQ(report.at("samples").at("overlap"), 0);
  EXPECT_GT(report.at("statistics_bytes").get<int64_t>(), 0);
  std::vector<std::string> phases;
  for (const auto& phase : report.at("phases")) phases.push_back(phase.at("name"));
  EXPECT_THAT(phases, ::testing::IsSupersetOf({"load", "inference", "collection", "scoring", "pruning"}));
  // 8, 16 and 32 channels: a quarter of each group goes, to the channel.
  for (const auto& cut : report.at("cuts")) EXPECT_EQ(cut.at("kept").get<int64_t>() * 4, cut.at("channels").get<int64_t>() * 3);
  EXPECT_THAT(report.at("cuts"), Not(IsEmpty()));

  const auto info = run_json({"info", "--model", out});
  EXPECT_EQ(info.at("parameters"), report.at("parameters").at("pruned"));
  EXPECT_EQ(info.at("history").back().at("criterion"), "std-consumer");
  EXPECT_EQ(info.at("history").back().at("repair"), "bn");
  EXPECT_NEAR(run_json({"eval", "--model", out, "--data", "synthetic:50:2", "--batch", "20"}).at("top1").get<double>(),
              report.at("accuracy").at("repaired").get<double>(), 1e-12);
}

TEST(Flow, EveryMetricCuts) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const char* metric : {"refit", "std-consumer", "positions", "rms", "std", "magnitude", "random"}) {
    const auto report = run_json(cut_words("coverage", model, folder / "out.safetensors", {"--metric", metric}));
    EXPECT_EQ(report.at("criterion"), metric);
    EXPECT_LT(report.at("parameters").at("pruned").get<int64_t>(), report.at("parameters").at("dense").get<int64_t>());
  }
}

TEST(Flow, WandaZeroesTheShareAskedFor) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string out = folder / "sparse.safetensors";
  const auto report = run_json(cut_words("wanda", model, out, {"--sparsity", "0.5", "--repair", "none"}));
  EXPECT_TRUE(report.at("accuracy").at("repaired").is_null());
  EXPECT_EQ(report.at("parameters").at("pruned"), report.at("parameters").at("dense"));
  int64_t weights = 0;
  int64_t kept = 0;
  for (const auto& cut : report.at("cuts")) {
    weights += cut.at("weights").get<int64_t>();
    kept += cut.at("kept").get<int64_t>();
    // Inside each output channel half goes, rounded to a weight.
    EXPECT_NEAR(cut.at("kept").get<double>() / cut.at("weights").get<double>(), 0.5, 0.05) << cut.at("name");
  }
  EXPECT_GT(weights, 0);
  EXPECT_EQ(
      report.at("nonzero_parameters").at("dense").get<int64_t>() - report.at("nonzero_parameters").at("pruned").get<int64_t>(),
      weights - kept);
}

TEST(Flow, WandaCutsChannels) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto channels = run_json(cut_words("wanda", model, folder / "c.safetensors", {"--channels", "0.5"}));
  EXPECT_LT(channels.at("macs").at("pruned").get<int64_t>(), channels.at("macs").at("dense").get<int64_t>());
}

TEST(Flow, PatternsKeepNOfMInputChannelsInTheFile) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "p.safetensors";
  const std::vector<std::pair<int, int>> patterns{{1, 2}, {2, 4}, {4, 8}};
  for (const auto& [n, m] : patterns) {
    const std::string pattern = std::to_string(n) + ":" + std::to_string(m);
    const bool refitted = n == 2;
    const auto report =
        run_json(cut_words("wanda", model, out, {"--pattern", pattern, "--repair", refitted ? "refit" : "none"}));
    const Model sparse = load_model(out, host_resource());
    for (const auto& cut : report.at("cuts")) {
      const Tensor& weight = sparse.parameter(cut.at("name").get<std::string>() + ".weight");
      const std::span<const float> w = weight.f32();
      const auto inputs = static_cast<size_t>(weight.shape()[1]),
                 taps = w.size() / inputs / static_cast<size_t>(weight.shape()[0]);
      for (size_t row = 0; row < w.size(); row += inputs * taps) {  // one output's weights
        for (size_t tap = 0; tap < taps; ++tap) {
          for (size_t c = 0; c + static_cast<size_t>(m) <= inputs; c += static_cast<size_t>(m)) {
            int kept = 0;
            for (size_t i = c; i < c + static_cast<size_t>(m); ++i) kept += w[row + i * taps + tap] != 0.0F ? 1 : 0;
            // The refit makes new zeros: weights of inputs that are zero on every image.
            ASSERT_TRUE(refitted ? kept <= n : kept == n)
                << kept << " of " << pattern << " in " << cut.at("name") << " at " << c;
          }
        }
      }
    }
    EXPECT_GE(report.at("cuts").size(), 18U) << "every convolution but the stem's three channels";
  }
}

TEST(Flow, LayersMayHaveSharesOfTheirOwnOrStayWhole) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  // layer2.0.conv1 and layer3.1.relu1 name groups by a value in them; the rest loses a half.
  const auto report = run_json(cut_words("coverage", model, folder / "o.safetensors",
                                         {"--scope", "layer", "--channels", "0.5", "--repair", "none", "--layer",
                                          "layer2.0.conv1=0.25", "--ignore", "layer3.1.relu1", "--ignore", "relu"}));
  std::map<std::string, std::pair<int64_t, int64_t>> cuts;  // name -> before, after
  for (const auto& cut : report.at("cuts")) cuts[cut.at("name")] = {cut.at("channels"), cut.at("kept")};
  const Model dense = load_model(model, host_resource()), cut = load_model(folder / "o.safetensors", host_resource());
  const auto channels = [](const Model& m, const std::string& value) { return m.graph.node(m.graph.at(value)).shape.channels; };
  EXPECT_EQ(channels(cut, "layer2.0.relu1"), 12);  // of 16
  EXPECT_EQ(channels(cut, "layer2.1.relu1"), 8);
  EXPECT_EQ(channels(cut, "layer3.1.relu1"), 32);
  EXPECT_EQ(channels(cut, "relu"), channels(dense, "relu"));
  EXPECT_EQ(channels(cut, "layer3.0.relu1"), 16);
  EXPECT_EQ(cuts.size(), 10U);  // nine blocks' inner groups and three residual ones, less two

  const auto sparse = run_json(cut_words("wanda", model, folder / "w.safetensors",
                                         {"--sparsity", "0.5", "--repair", "none", "--ignore", "layer2.0.conv1"}));
  EXPECT_EQ(sparse.at("cuts").size(), 18U);  // of nineteen convolutions
  for (const auto& layer : sparse.at("cuts")) EXPECT_NE(layer.at("name"), "layer2.0.conv1");
}

TEST(Flow, SavedStatisticsGiveTheSameNetwork) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  (void)run_json(cut_words("coverage", model, folder / "a.safetensors", {"--save-statistics", folder / "sums.safetensors"}));
  (void)run_json(cut_words("coverage", model, folder / "b.safetensors", {"--statistics", folder / "sums.safetensors"}));
  EXPECT_EQ(run_json({"info", "--model", folder / "a.safetensors"}).at("hash"),
            run_json({"info", "--model", folder / "b.safetensors"}).at("hash"));
  // The sums of one network are refused for another.
  const Outcome other = elek_command(
      cut_words("coverage", folder / "a.safetensors", folder / "c.safetensors", {"--statistics", folder / "sums.safetensors"}));
  EXPECT_EQ(other.exit_code, 3) << other.err;
  EXPECT_THAT(other.err, HasSubstr("sums.safetensors: statistics: expected those of model"));
}

TEST(Flow, OverlapIsAWarningWithItsCount) {
  const Folder folder;
  const Outcome outcome =
      elek_command({"coverage", "--model", tiny_model(folder), "--calibrate", "synthetic:40:1", "--evaluate",
                    "synthetic:60:1[30:60]", "--batch", "20", "--json", "--out", folder / "o.safetensors"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.json().at("samples").at("overlap"), 10);
  EXPECT_THAT(outcome.err, HasSubstr("10 of the 40"));
}

TEST(Flow, CalibrationIsAShuffledSampleOfTheSeed) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto hash_with = [&](const std::string& seed) {
    (void)run_json({"coverage", "--model", model, "--calibrate", "synthetic:200:1", "--evaluate", "synthetic:20:2", "--batch",
                    "10", "--max-batches", "2", "--seed", seed, "--out", folder / "o.safetensors"});
    return run_json({"info", "--model", folder / "o.safetensors"}).at("hash").get<std::string>();
  };
  EXPECT_EQ(hash_with("1"), hash_with("1"));
  EXPECT_NE(hash_with("1"), hash_with("2"));
}

TEST(Flow, BenchMeasures) {
  const Folder folder;
  const auto report = run_json({"bench", "--model", tiny_model(folder), "--batch", "4", "--seconds", "0.2"});
  const auto& latency = report.at("latency_ms");
  EXPECT_GT(latency.at("p10").get<double>(), 0);
  EXPECT_LE(latency.at("p10").get<double>(), latency.at("p50").get<double>());
  EXPECT_LE(latency.at("p50").get<double>(), latency.at("p90").get<double>());
  EXPECT_GT(report.at("images_per_second").get<double>(), 0);
  EXPECT_GT(report.at("peak_rss_bytes").get<int64_t>(), report.at("memory").at("arena_bytes").get<int64_t>());
}

TEST(Shipped, AccuracyIsPyTorchs) {
  const Folder folder;
  const auto report = run_json({"eval", "--model", shipped_model(folder), "--data", "idx:" + shipped_data() + ":test"});
  EXPECT_EQ(report.at("samples"), 10000);
  EXPECT_NEAR(report.at("top1").get<double>(), 0.9340, 1e-9);  // PyTorch's: the same number of hits
}

TEST(Shipped, RunNamesTheClassOfAPicture) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  // The smallest valid PNG: 1x1, grey, black.
  static constexpr unsigned char kPng[] = {0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48,
                                           0x44, 0x52, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x01, 0x08, 0x00, 0x00, 0x00,
                                           0x00, 0x3a, 0x7e, 0x9b, 0x55, 0x00, 0x00, 0x00, 0x0a, 0x49, 0x44, 0x41, 0x54, 0x78,
                                           0xda, 0x63, 0x60, 0x00, 0x00, 0x00, 0x02, 0x00, 0x01, 0xe5, 0x27, 0xde, 0xfc, 0x00,
                                           0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82};
  write_text(folder / "black.png", std::string(reinterpret_cast<const char*>(kPng), sizeof(kPng)));
  const auto report = run_json({"run", "--model", model, folder / "black.png"});
  const auto& top = report.at("images").at(0).at("top");
  ASSERT_EQ(top.size(), 5U);
  double sum = 0;
  for (size_t i = 0; i < top.size(); ++i) {
    sum += top[i].at("probability").get<double>();
    EXPECT_THAT(read_text(shipped_data() + "/labels.txt"), HasSubstr(top[i].at("label").get<std::string>()));
    if (i > 0) {
      EXPECT_LE(top[i].at("probability").get<double>(), top[i - 1].at("probability").get<double>());
    }
  }
  EXPECT_LE(sum, 1 + 1e-9);
}

TEST(Shipped, CoverageIsRepaired) {
  const Folder folder;
  const auto report =
      run_json({"coverage", "--model", shipped_model(folder), "--calibrate", "idx:" + shipped_data() + ":train[0:400]",
                "--evaluate", "idx:" + shipped_data() + ":test[0:400]", "--metric", "std-consumer", "--channels", "0.3",
                "--out", folder / "small.safetensors"});
  const auto& accuracy = report.at("accuracy");
  EXPECT_GT(accuracy.at("dense").get<double>(), 0.9);
  // The refit recovers nearly all of what the cut lost, and the cut did lose something: 400 images, one draw.
  EXPECT_LT(accuracy.at("pruned").get<double>(), accuracy.at("dense").get<double>());
  EXPECT_GT(accuracy.at("repaired").get<double>(), accuracy.at("dense").get<double>() - 0.04);
  EXPECT_EQ(report.at("samples").at("overlap"), 0);
}

TEST(Shipped, TheMetricRefitCutsTheMacsOfEqualShares) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  const auto cut = [&](const std::string& images, std::vector<std::string> more) {
    std::vector<std::string> words{"coverage",
                                   "--model",
                                   model,
                                   "--calibrate",
                                   "idx:" + shipped_data() + ":train[0:" + images + "]",
                                   "--evaluate",
                                   "idx:" + shipped_data() + ":test[0:200]",
                                   "--channels",
                                   "0.5",
                                   "--repair",
                                   "bn",
                                   "--out",
                                   folder / "small.safetensors"};
    words.insert(words.end(), more.begin(), more.end());
    return run_json(words);
  };
  const auto equal = cut("10", {"--metric", "magnitude"}), global = cut("60", {});
  EXPECT_EQ(global.at("criterion"), "refit");
  EXPECT_EQ(global.at("statistics_bytes"), 0);  // it looks at images, not at sums
  std::set<double> shares;
  for (const auto& group : global.at("cuts"))
    shares.insert(group.at("kept").get<double>() / group.at("channels").get<double>());
  EXPECT_GT(shares.size(), 3U);
  EXPECT_LE(global.at("equivalence").at("difference").get<double>(), global.at("equivalence").at("bound").get<double>());
  // The budget is the MACs that equal shares leave; the last step overshoots by less than a group's eight channels.
  const double left = global.at("macs").at("pruned"), budget = equal.at("macs").at("pruned");
  EXPECT_LE(left, budget);
  EXPECT_GT(left, 0.9 * budget);
  // Chance is 0.1, and so is what the cut leaves before its repair.
  EXPECT_GT(global.at("accuracy").at("repaired").get<double>(), 0.4);
}

TEST(Coverage, SaysWhichMetricItTookAndWhy) {
  const Folder folder;
  const auto said = [&](std::vector<std::string> more) {
    std::vector<std::string> words{"coverage",   "--model",        tiny_model(folder), "--calibrate", "synthetic:20:1",
                                   "--evaluate", "synthetic:10:2", "--repair",         "bn",          "--json"};
    words.insert(words.end(), more.begin(), more.end());
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.err;
  };
  const std::string out = folder / "small.safetensors", sums = folder / "sums.safetensors";
  const std::string by_default = said({"--out", out});
  EXPECT_THAT(by_default, HasSubstr("metric refit (default)"));
  EXPECT_THAT(by_default, ::testing::ContainsRegex("choosing by the metric refit: [0-9]+ layers, .* dense passes .*, about"));
  EXPECT_THAT(said({"--save-statistics", sums}), HasSubstr("metric std-consumer: --save-statistics needs sums"));
  EXPECT_THAT(said({"--statistics", sums, "--out", out}), HasSubstr("metric std-consumer: --statistics"));
  EXPECT_THAT(said({"--why", "layer2.0"}), HasSubstr("metric std-consumer: --why"));
  EXPECT_THAT(said({"--metric", "rms", "--out", out}), ::testing::Not(HasSubstr("metric ")));
  EXPECT_THAT(said({"--replay", out, "--out", folder / "again.safetensors"}), ::testing::Not(HasSubstr("metric ")));
}

}  // namespace
}  // namespace elek::test
