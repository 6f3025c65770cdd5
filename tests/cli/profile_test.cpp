// SPDX-License-Identifier: Apache-2.0
// elek profile: its output is complete and consistent. No test asks how fast anything is.
#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

Outcome profile(const std::string& model, std::vector<std::string> more) {
  std::vector<std::string> words{"profile", "--model", model, "--seconds", "0", "--device", "cpu", "--threads", "1"};
  words.insert(words.end(), more.begin(), more.end());
  Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome;
}

TEST(Profile, EveryStepIsTheModelsAndItsWorkAddsUp) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto info = elek_command({"info", "--model", model, "--json"}).json();
  std::set<std::string> nodes;
  for (const auto& layer : info.at("layers")) nodes.insert(layer.at("name").get<std::string>());
  for (const int batch : {1, 5}) {
    const auto json = profile(model, {"--batch", std::to_string(batch), "--json"}).json();
    EXPECT_EQ(json.at("command"), "profile");
    EXPECT_EQ(json.at("batch"), batch);
    EXPECT_EQ(json.at("statistics"), false);
    EXPECT_GE(json.at("runs"), 5);
    EXPECT_GT(json.at("peaks").at("flops_per_second"), 0);
    EXPECT_GT(json.at("peaks").at("bandwidths").size(), 3U);
    EXPECT_TRUE(json.at("peaks").contains("core_to_core_ns"));
    double flops = 0, time_ms = 0, shares = 0;
    std::set<std::string> seen;
    for (const auto& step : json.at("steps")) {
      const std::string name = step.at("name");
      EXPECT_TRUE(nodes.contains(name)) << name;
      EXPECT_TRUE(seen.insert(name).second) << name << " is there twice";
      EXPECT_FALSE(step.at("kernel").get<std::string>().empty()) << name;
      EXPECT_EQ(step.at("watched"), false) << name;
      EXPECT_EQ(step.at("output").size(), 3U) << name;
      EXPECT_LE(step.at("kernel_flops"), step.at("flops")) << name;
      const bool alias = step.at("kernel") == "alias";
      EXPECT_EQ(step.at("activation_bytes") == 0, alias) << name;
      EXPECT_EQ(step.at("bound").is_null(), alias) << name;
      if (!alias) {
        const double ms = step.at("time_ms"), roof = step.at("roof_ms");
        EXPECT_GT(ms, 0) << name;
        EXPECT_TRUE(step.at("bound") == "compute" || step.at("bound") == "memory") << name;
        EXPECT_NEAR(step.at("share_of_peak").get<double>(), roof / ms, 1e-9 * roof / ms) << name;
        EXPECT_NEAR(step.at("flops_per_second").get<double>() * ms, 1e3 * step.at("flops").get<double>(), 1) << name;
      }
      flops += step.at("flops").get<double>();
      time_ms += step.at("time_ms").get<double>();
      shares += step.at("time_share").get<double>();
    }
    EXPECT_EQ(flops, 2.0 * batch * info.at("macs").get<double>());
    EXPECT_NEAR(time_ms, json.at("steps_ms").get<double>(), 1e-9 * time_ms);
    EXPECT_NEAR(shares, 1, 1e-9);
  }
}

TEST(Profile, FitsATerminalAndNamesStepsOnce) {
  const Folder folder;
  const std::string model = folder / "r50.safetensors";
  ASSERT_EQ(elek_command({"prepare", "--arch", "resnet50", "--input", "3,32,32", "--random", "1", "--out", model}).exit_code,
            0);
  const Outcome outcome = profile(model, {"--statistics", "on"});
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  const std::string name = "\nlayer4.0.downsample.0  ";
  const size_t at = outcome.out.find(name);
  ASSERT_NE(at, std::string::npos) << outcome.out;
  EXPECT_EQ(outcome.out.find(name, at + 1), std::string::npos);
  EXPECT_THAT(outcome.out, AllOf(HasSubstr("by kernel"), HasSubstr("GB/s, by size of the data  copied  read"),
                                 HasSubstr("A run of 1 image:"), HasSubstr("\nall steps ")));
}

TEST(Profile, WatchesWhatCoverageWatches) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const auto json = profile(model, {"--statistics", "on", "--json"}).json();
  EXPECT_EQ(json.at("statistics"), true);
  EXPECT_GT(json.at("memory").at("statistics_bytes"), 0);
  const auto& steps = json.at("steps");
  EXPECT_GT(std::count_if(steps.begin(), steps.end(), [](const auto& step) { return step.at("watched").template get<bool>(); }),
            10);
}

TEST(Profile, WhyNamesEveryKernelInFull) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Outcome outcome = profile(model, {"--why"});
  const auto json = profile(model, {"--json"}).json();
  for (const auto& step : json.at("steps")) {
    EXPECT_THAT(outcome.out, HasSubstr("\n" + step.at("name").get<std::string>() + ": "));
  }
}

TEST(Profile, BesideTellsBothNetworksStepByStep) {
  const Folder folder;
  const std::string model = tiny_model(folder), small = folder / "small.safetensors";
  const Outcome cut =
      elek_command({"coverage", "--model", model, "--calibrate", "synthetic:20:1", "--evaluate", "synthetic:10:2", "--metric",
                    "magnitude", "--channels", "0.5", "--repair", "none", "--out", small});
  ASSERT_EQ(cut.exit_code, 0) << cut.err;
  const auto steps_of = [](const std::string& path) {
    std::map<std::string, nlohmann::json> steps;
    const auto json = profile(path, {"--json"}).json();
    for (const auto& step : json.at("steps"))
      if (step.at("kernel") != "alias") steps[step.at("name")] = step;
    return steps;
  };
  const auto dense = steps_of(model), pruned = steps_of(small);
  const auto json = profile(model, {"--beside", small, "--json"}).json();
  EXPECT_EQ(json.at("beside"), small);
  EXPECT_GE(json.at("runs"), 5);
  EXPECT_NEAR(
      json.at("speed_up"),
      json.at("latency_ms").at("dense").at("p50").get<double>() / json.at("latency_ms").at("pruned").at("p50").get<double>(),
      1e-9);
  ASSERT_EQ(json.at("steps").size(), dense.size());
  int64_t fewer = 0;
  for (const auto& step : json.at("steps")) {
    const std::string name = step.at("name");
    const auto& d = step.at("dense");
    const auto& p = step.at("pruned");
    EXPECT_EQ(d.at("outputs"), dense.at(name).at("output").at(0)) << name;
    EXPECT_EQ(p.at("outputs"), pruned.at(name).at("output").at(0)) << name;
    fewer += p.at("outputs") < d.at("outputs") ? 1 : 0;
    const double times = d.at("time_ms").get<double>() / p.at("time_ms").get<double>();
    const double allowed = d.at("roof_ms").get<double>() / p.at("roof_ms").get<double>();
    EXPECT_NEAR(step.at("speed_up"), times, 1e-9 * times) << name;
    EXPECT_NEAR(step.at("allowed_speed_up"), allowed, 1e-9 * allowed) << name;
    const double want = d.at("time_ms").get<double>() / allowed;  // time of the pruned step if it reached all that is allowed
    EXPECT_NEAR(step.at("lost_ms"), p.at("time_ms").get<double>() - want, 1e-9 * want) << name;
  }
  EXPECT_GT(fewer, 5);
  const auto same = profile(model, {"--beside", model, "--json"}).json();
  EXPECT_EQ(same.at("allowed_speed_up"), 1.0);
  for (const auto& step : same.at("steps")) EXPECT_EQ(step.at("allowed_speed_up"), 1.0) << step.at("name");
}

TEST(Profile, BesideFitsATerminalAndRefusesAStranger) {
  const Folder folder;
  const std::string model = folder / "r50.safetensors";
  ASSERT_EQ(elek_command({"prepare", "--arch", "resnet50", "--input", "3,32,32", "--random", "1", "--out", model}).exit_code,
            0);
  const Outcome outcome = profile(model, {"--beside", model});
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  EXPECT_THAT(outcome.out,
              AllOf(HasSubstr(" 2048>512, 2048>512 "), HasSubstr("\nall steps "), HasSubstr("A run of 1 image: dense ")));
  const Outcome refused = elek_command({"profile", "--model", model, "--beside", tiny_model(folder), "--seconds", "0"});
  EXPECT_EQ(refused.exit_code, 3) << refused.err;
  EXPECT_THAT(refused.err, HasSubstr("expected a pruned form"));
}

TEST(Profile, BadInputIsSaidAsElsewhere) {
  const Folder folder;
  EXPECT_EQ(elek_command({"profile", "--model", folder / "none.safetensors"}).exit_code, 3);
  const std::string model = tiny_model(folder);
  const Outcome refused = elek_command({"profile", "--model", model, "--memory-limit", "100kB"});
  EXPECT_EQ(refused.exit_code, 4) << refused.err;
}

}  // namespace
}  // namespace elek::test
