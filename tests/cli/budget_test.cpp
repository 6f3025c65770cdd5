// SPDX-License-Identifier: Apache-2.0
// The budgets that are measured: the file, the session, the time of a run. Through the command, against what is really written
// and what `elek memory` says.
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

Words cut_words(const std::string& model, const std::string& out, const Words& more) {
  Words words{"coverage", "--model", model,     "--calibrate", "synthetic:40:1", "--evaluate", "synthetic:10:2",
              "--repair", "none",    "--batch", "20",          "--out",          out,          "--json"};
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

nlohmann::json json_of(const Words& words) {
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.json();
}

/// Weights and arena of a session that runs one image at a time.
double session_bytes(const std::string& model) {
  const auto memory = json_of({"memory", "--model", model, "--batch", "1", "--json"});
  return memory.at("weights_bytes").get<double>() + memory.at("arena_bytes").get<double>();
}

TEST(Budget, OfTheFileIsThatOfTheFile) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "small.safetensors";
  for (const Words& how : std::vector<Words>{{}, {"--metric", "magnitude", "--scope", "global", "--round-to", "1"}}) {
    for (const std::string size : {"0.7", "90kB"}) {
      Words more{"--file-bytes", size};
      more.insert(more.end(), how.begin(), how.end());
      const auto report = json_of(cut_words(model, out, more));
      const auto limit = report.at("budget").at("limit").get<double>();
      const auto bytes = static_cast<double>(std::filesystem::file_size(out));
      EXPECT_NEAR(limit, size == "0.7" ? 0.7 * static_cast<double>(std::filesystem::file_size(model)) : 90e3, 1);
      EXPECT_EQ(report.at("budget").at("left"), bytes);
      EXPECT_LE(bytes, limit);
      EXPECT_GE(bytes, 0.98 * limit);  // texts in the history are taken as longer than they become: some hundred bytes here
    }
  }
}

TEST(Budget, OfMemoryIsWhatTheCommandMemorySays) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "small.safetensors";
  const double whole = session_bytes(model);
  const auto report = json_of(cut_words(model, out, {"--memory", "0.6", "--round-to", "1"}));
  EXPECT_NEAR(report.at("budget").at("limit").get<double>(), 0.6 * whole, 1);
  EXPECT_EQ(report.at("budget").at("left"), session_bytes(out));
  EXPECT_LE(session_bytes(out), 0.6 * whole);
  EXPECT_GE(session_bytes(out), 0.95 * 0.6 * whole);
}

/// Beside other work no time can be promised: then the command may find no network that is fast enough, and says so.
TEST(Budget, OfTimeIsToldWithWhatWasMeasured) {
  const Folder folder;
  setenv("ELEK_CACHE_DIR", folder.path().c_str(), 1);
  const std::string out = folder / "small.safetensors";
  const Outcome outcome = elek_command(cut_words(shipped_model(folder), out, {"--latency", "0.6", "--metric", "magnitude"}));
  unsetenv("ELEK_CACHE_DIR");
  if (outcome.exit_code != 0) {
    EXPECT_EQ(outcome.exit_code, 2) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr("the smallest network that was found has"));
    EXPECT_FALSE(std::filesystem::exists(out));
    return;
  }
  const auto report = outcome.json();
  EXPECT_EQ(report.at("budget").at("unit"), "latency-us");
  EXPECT_EQ(report.at("budget").at("left").get<double>(), report.at("latency_ms").at("pruned").at("p50").get<double>() * 1e3);
  EXPECT_THAT(report.at("target").get<std::string>(), ::testing::StartsWith("latency-us="));
  EXPECT_LT(report.at("macs").at("pruned"), report.at("macs").at("dense"));
}

TEST(Budget, WhatCannotBeMeantIsSaidBeforeTheImagesAreRead) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "small.safetensors";
  struct Wrong {
    Words words;
    std::string says;
  };
  for (const Wrong& wrong : std::vector<Wrong>{
           {{"--file-bytes", "1kB"}, "the smallest network that was found has"},
           {{"--memory", "1kB"}, "the smallest network that was found has"},
           {{"--memory", "5GB"}, "allow less"},
           {{"--file-bytes", "1"}, "a size, such as 500kB"},
           {{"--memory", "much"}, "a size, such as 500kB"},
           {{"--latency", "2"}, "a time with us, ms or s"},
           {{"--latency", "-2ms"}, "a time with us, ms or s"},
           {{"--memory", "0.5", "--macs", "0.5"}, "excludes"},
           {{"--memory", "0.5", "--channels", "0.5"}, "excludes"},
           {{"--memory", "0.5", "--steps", "2"}, "--steps cannot be used"},
           {{"--file-bytes", "0.5", "--quantize", "int8"}, "--quantize cannot be used"},
       }) {
    Words words = cut_words(model, out, wrong.words);
    std::replace(words.begin(), words.end(), std::string("synthetic:40:1"), std::string("images:/nowhere"));
    const Outcome outcome = elek_command(words);
    EXPECT_EQ(outcome.exit_code, 2) << ::testing::PrintToString(wrong.words) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(wrong.says));
    EXPECT_FALSE(std::filesystem::exists(out));
  }
}

/// The same cut as without the option, told and not written.
TEST(DryRun, TellsWhatTheCutWouldDoAndWritesNothing) {
  const Folder folder;
  const std::string model = tiny_model(folder), out = folder / "small.safetensors";
  for (const Words& what : std::vector<Words>{{"coverage", "--macs", "0.5", "--repair", "auto"},
                                              {"wanda", "--sparsity", "0.5", "--repair", "refit"},
                                              {"coverage", "--metric", "magnitude", "--memory", "0.7", "--repair", "refit"}}) {
    Words words = what;
    words.insert(words.end(), {"--model", model, "--calibrate", "synthetic:40:1", "--evaluate", "synthetic:10:2", "--batch",
                               "20", "--out", out, "--dry-run"});
    const Outcome told = elek_command(words);
    EXPECT_EQ(told.exit_code, 0) << told.err;
    EXPECT_THAT(told.out, HasSubstr("nothing is written (--dry-run)"));
    EXPECT_THAT(told.out, HasSubstr("layer1.0"));
    words.emplace_back("--json");
    const auto dry = json_of(words);
    EXPECT_EQ(dry.at("repair"), "refit target=block");
    EXPECT_THAT(folder.files(), ::testing::ElementsAre("tiny.safetensors"));
    words.erase(std::find(words.begin(), words.end(), "--dry-run"));
    std::replace(words.begin(), words.end(), std::string("auto"), std::string("refit"));
    const auto real = json_of(words);
    for (const char* same : {"cuts", "macs", "accuracy", "file_bytes"}) EXPECT_EQ(dry.at(same), real.at(same)) << same;
    std::filesystem::remove(out);
  }
}

TEST(DryRun, HasNoPlaceForFiles) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Outcome sums = elek_command({"coverage", "--model", model, "--calibrate", "synthetic:4:1", "--evaluate",
                                     "synthetic:4:2", "--dry-run", "--save-statistics", folder / "sums"});
  EXPECT_EQ(sums.exit_code, 2);
  EXPECT_THAT(sums.err, HasSubstr("--dry-run writes no file"));
  EXPECT_EQ(elek_command({"coverage", "--model", model, "--calibrate", "synthetic:4:1", "--evaluate", "synthetic:4:2",
                          "--dry-run", "--trace", folder / "t.jsonl"})
                .exit_code,
            2);
  const Outcome blind = elek_command({"coverage", "--model", model, "--calibrate", "synthetic:4:1", "--dry-run"});
  EXPECT_EQ(blind.exit_code, 2);
  EXPECT_THAT(blind.err, HasSubstr("--evaluate is required"));
}

TEST(Loss, IsToldWithWhatMayHelpIfTheCutCostsMuch) {
  const Folder folder;
  const std::string model = shipped_model(folder), data = "idx:" + shipped_data();
  const auto cut = [&](const std::string& share) {
    const Outcome outcome =
        elek_command({"coverage", "--model", model, "--calibrate", data + ":train[0:50]", "--evaluate", data + ":test[0:100]",
                      "--metric", "magnitude", "--channels", share, "--repair", "none", "--out", folder / "o.safetensors"});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string much = cut("0.7");
  EXPECT_THAT(much, HasSubstr("This cut costs"));
  EXPECT_THAT(much, HasSubstr("elek tune --model " + (folder / "o.safetensors") + " --teacher " + model));
  EXPECT_THAT(cut("0.02"), ::testing::Not(HasSubstr("This cut costs")));
}

}  // namespace
}  // namespace elek::test
