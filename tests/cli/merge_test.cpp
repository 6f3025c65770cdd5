// SPDX-License-Identifier: Apache-2.0
// A calibration watched by several processes and merged chooses exactly the channels and weights that one run chooses. With
// other batch sizes the choice may differ only if scores nearly tie. Also tests what elek merge refuses.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <future>
#include <map>

#include "core/sums.h"
#include "elek/model.h"
#include "models/model_file.h"
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Words = std::vector<std::string>;

constexpr int kImages = 61;

Words joined(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

std::string slice(int first, int last) {
  return "synthetic:" + std::to_string(kImages) + ":1[" + std::to_string(first) + ":" + std::to_string(last) + "]";
}

/// Watches one part of the images in one process, and writes its sums.
Outcome watch(const Words& what, const std::string& model, const std::string& data, const std::string& sums,
              const std::string& batch = "20") {
  return elek_command(joined(what, {"--model", model, "--calibrate", data, "--max-batches", "0", "--batch", batch,
                                    "--save-statistics", sums, "--quiet"}));
}

/// The choice of a cut with these options: the kept channels of each group, or the positions of the zeros in each weight.
struct Choice {
  std::map<std::string, std::vector<int64_t>> kept;
  std::map<std::string, std::vector<double>> scores;
};

Choice cut(const Words& what, const std::string& model, const std::string& out, const Words& more) {
  const Outcome outcome =
      elek_command(joined(joined(what, {"--model", model, "--calibrate", slice(0, kImages), "--max-batches", "0", "--evaluate",
                                        "synthetic:8:2", "--repair", "none", "--out", out, "--quiet"}),
                          more));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  Choice choice;
  const Model made = load_model(out, host_resource());
  for (const Cut& each : made.history.back().cuts) {
    choice.kept[each.name] = each.kept;
    choice.scores[each.name] = each.scores;
    if (!each.kept.empty()) continue;
    const std::span<const float> weights = made.parameter(each.name + ".weight").f32();
    for (size_t i = 0; i < weights.size(); ++i) {
      if (weights[i] != 0) choice.kept[each.name].push_back(static_cast<int64_t>(i));
    }
  }
  EXPECT_FALSE(choice.kept.empty());
  return choice;
}

/// Watches the parts between the bounds, each in its own process and all at once, and merges them.
std::string sharded(const Folder& folder, const Words& what, const std::string& model, const std::vector<int>& bounds) {
  std::vector<std::future<Outcome>> shards;
  Words merge{"merge"};
  for (size_t i = 0; i + 1 < bounds.size(); ++i) {
    merge.push_back(folder / ("shard" + std::to_string(i) + ".safetensors"));
    shards.push_back(std::async(std::launch::async, watch, what, model, slice(bounds[i], bounds[i + 1]), merge.back(), "20"));
  }
  for (auto& shard : shards) {
    const Outcome outcome = shard.get();
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  }
  std::string all = folder / "all.safetensors";
  const Outcome merged = elek_command(joined(merge, {"--out", all, "--json"}));
  EXPECT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_EQ(merged.json().at("samples"), kImages);
  EXPECT_EQ(merged.json().at("inputs").size(), bounds.size() - 1);
  EXPECT_EQ(merged.json().at("data"), slice(0, kImages));  // neighbouring shards become one
  return all;
}

TEST(Merge, ShardsChooseWhatOneRunChooses) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::vector<Words> commands = {{"coverage", "--channels", "0.4", "--metric", "std-consumer", "--round-to", "1"},
                                       {"coverage", "--channels", "0.4", "--metric", "combined", "--scope", "global"},
                                       {"wanda", "--channels", "0.4"},
                                       {"wanda", "--sparsity", "0.5"}};
  for (const Words& what : commands) {
    const Choice whole = cut(what, model, folder / "whole.safetensors", {"--batch", "20"});
    for (const std::vector<int>& bounds : {std::vector<int>{0, kImages}, {0, 23, kImages}, {0, 1, 8, 20, 45, kImages}}) {
      const std::string all = sharded(folder, what, model, bounds);
      const Choice merged = cut(what, model, folder / "merged.safetensors", {"--statistics", all});
      EXPECT_EQ(merged.kept, whole.kept) << what[0] << what[1] << what[2] << ", " << bounds.size() - 1 << " shards";
    }
  }
}

/// Other batches mean other kernels and other orders of f32 sums: scores change in the last digits. A channel may only change
/// places with one whose score is the same except for those digits.
TEST(Merge, OtherBatchSizesChooseTheSameButForNearTies) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const Words& what : {Words{"coverage", "--channels", "0.4"}, Words{"wanda", "--channels", "0.4"}}) {
    const Choice twenty = cut(what, model, folder / "a.safetensors", {"--batch", "20"});
    for (const char* batch : {"1", "7", "61"}) {
      const Choice other = cut(what, model, folder / "b.safetensors", {"--batch", batch});
      ASSERT_EQ(other.kept.size(), twenty.kept.size());
      for (const auto& [name, scores] : twenty.scores) {
        // Sums hold to 1e-6 of their terms; a standard deviation is a difference of two, at worst a few times that.
        const double gap = 1e-4 * *std::max_element(scores.begin(), scores.end());
        const std::vector<double>& others = other.scores.at(name);
        ASSERT_EQ(others.size(), scores.size());
        for (size_t c = 0; c < scores.size(); ++c) {
          EXPECT_TRUE(std::fabs(others[c] - scores[c]) <= gap) << name << " channel " << c << " batch " << batch;
        }
        std::vector<int64_t> moved;
        const auto& a = twenty.kept.at(name);
        const auto& b = other.kept.at(name);
        std::set_symmetric_difference(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(moved));
        if (moved.empty()) continue;
        const auto [low, high] = std::minmax_element(moved.begin(), moved.end(), [&](int64_t x, int64_t y) {
          return scores[static_cast<size_t>(x)] < scores[static_cast<size_t>(y)];
        });
        EXPECT_LE(scores[static_cast<size_t>(*high)] - scores[static_cast<size_t>(*low)], 2 * gap)
            << name << " batch " << batch;
      }
    }
  }
}

TEST(Merge, WatchingAloneCutsNothing) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string sums = folder / "sums.safetensors";
  const Outcome outcome = elek_command(
      {"coverage", "--model", model, "--calibrate", "synthetic:30:1", "--batch", "20", "--save-statistics", sums, "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.json().at("samples").at("calibration"), 30);
  EXPECT_TRUE(outcome.json().at("out").is_null());
  EXPECT_THAT(folder.files(), ::testing::ElementsAre("sums.safetensors", "tiny.safetensors"));
  // Missing: a file for the sums or the network; evaluation data for a cut.
  EXPECT_EQ(elek_command({"coverage", "--model", model, "--calibrate", "synthetic:30:1"}).exit_code, 2);
  const Outcome blind =
      elek_command({"coverage", "--model", model, "--calibrate", "synthetic:30:1", "--out", folder / "o.safetensors"});
  EXPECT_EQ(blind.exit_code, 2);
  EXPECT_THAT(blind.err, HasSubstr("--evaluate"));
}

TEST(Merge, EachCriterionTakesTheSetsThatItReadsOnBothTaps) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string sums = folder / "sums";
  struct Want {
    const char* metric;
    bool activity, absolute, per_sample;
  };
  for (const Want& want : {Want{"std-consumer", true, false, false},
                           {"positions", true, false, false},
                           {"rms", true, false, false},
                           {"std", true, false, false},
                           {"mean_absolute", false, true, false},
                           {"frequency", false, false, true},
                           {"normalized_mean", false, false, true},
                           {"combined", false, false, true}}) {
    for (const char* tap : {"relu", "conv"}) {
      if (want.metric == std::string("std-consumer") && tap == std::string("conv")) continue;
      const Outcome outcome = watch({"coverage", "--metric", want.metric, "--tap", tap}, model, "synthetic:5:1", sums);
      ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
      const Statistics taken = load_statistics(sums);
      EXPECT_EQ(taken.tap, tap == std::string("relu") ? Tap::kRelu : Tap::kConv);
      EXPECT_TRUE(taken.tap_norms.empty() && !taken.values.empty());
      for (const auto& [name, v] : taken.values) {
        EXPECT_EQ(!v.sum.empty() && !v.sum_sq.empty() && !v.active.empty(), want.activity) << want.metric << " " << name;
        EXPECT_EQ(!v.abs_sum.empty(), want.absolute) << want.metric << " " << name;
        EXPECT_EQ(!v.fired.empty() && !v.mean_sum.empty() && !v.mean_peak.empty(), want.per_sample)
            << want.metric << " " << name;
        EXPECT_TRUE(v.z_sum.empty() && v.max.empty()) << want.metric << " " << name;  // no criterion reads them
      }
    }
  }
  ASSERT_EQ(watch({"wanda"}, model, "synthetic:5:1", sums).exit_code, 0);
  const Statistics norms = load_statistics(sums);
  EXPECT_TRUE(norms.values.empty());
  EXPECT_EQ(norms.tap_norms.size(), 19U);  // every convolution, the classifier left out
}

TEST(Merge, RefusesWhatDoesNotBelongTogether) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string other = folder / "other.safetensors";
  ASSERT_EQ(elek_command({"prepare", "--arch", "cifar_resnet20", "--width", "8", "--input", "3,16,16", "--random", "2", "--out",
                          other, "--quiet"})
                .exit_code,
            0);
  const auto take = [&](const std::string& name, const std::string& of, const Words& what) {
    const Outcome outcome = watch(what, of, "synthetic:5:1", folder / name);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return folder / name;
  };
  const std::string relu = take("relu", model, {"coverage", "--metric", "positions"});
  const std::string conv = take("conv", model, {"coverage", "--metric", "positions", "--tap", "conv"});
  const std::string sets = take("sets", model, {"coverage", "--metric", "combined"});
  const std::string norms = take("norms", model, {"wanda"});
  const std::string stranger = take("stranger", other, {"coverage", "--metric", "positions"});
  const std::string out = folder / "merged";
  const auto refused = [&](const Words& files, int exit_code, const std::string& says) {
    const Outcome outcome = elek_command(joined(joined({"merge"}, files), {"--out", out}));
    EXPECT_EQ(outcome.exit_code, exit_code) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(says));
    EXPECT_THAT(outcome.out, IsEmpty());
    EXPECT_THAT(folder.files(), ::testing::Not(::testing::Contains("merged")));
  };
  refused({relu, stranger}, 3, "stranger: statistics of different models");
  refused({relu, conv}, 3, "conv: statistics of different taps");
  refused({relu, sets}, 3, "sets of sums");
  refused({relu, norms}, 3, "watched");
  refused({relu, model}, 3, "expected a statistics file");
  refused({relu, folder / "none"}, 3, "none");
  refused({relu, relu}, 2, "given twice");
  refused({relu, folder / "../" + std::filesystem::path(folder.path()).filename().string() + "/relu"}, 2, "given twice");
  EXPECT_EQ(elek_command({"merge", relu, "--out", relu}).exit_code, 2);
  EXPECT_EQ(elek_command({"merge", "--out", out}).exit_code, 2);
  write_text(folder / "half", read_text(relu).substr(0, 500));
  refused({relu, folder / "half"}, 3, "half");
}

}  // namespace
}  // namespace elek::test
