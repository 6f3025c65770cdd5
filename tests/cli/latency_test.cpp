// SPDX-License-Identifier: Apache-2.0
// What the cutting commands and compare print about the speed of a cut network; --round-to measured through the command.
#include <cstdlib>
#include <filesystem>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<std::string> cut_of(const Folder& folder, const std::string& rounding) {
  return {"coverage",
          "--model",
          tiny_model(folder),
          "--calibrate",
          "synthetic:20:1",
          "--evaluate",
          "synthetic:10:2",
          "--channels",
          "0.4",
          "--repair",
          "bn",
          "--threads",
          "1",
          "--device",
          "cpu",
          "--round-to",
          rounding,
          "--out",
          folder / (rounding + ".safetensors")};
}

nlohmann::json json_of(std::vector<std::string> words) {
  words.emplace_back("--json");
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.json();
}

TEST(RoundToMeasured, CutsAndSaysSo) {
  const Folder folder;
  setenv("ELEK_CACHE_DIR", folder.path().c_str(), 1);
  for (const std::string scope : {"layer", "global"}) {  // global: a budget of MACs, then rounded
    std::vector<std::string> words = cut_of(folder, "measured");
    words.insert(words.end(), {"--scope", scope});
    const auto first = json_of(words);
    EXPECT_THAT(first.at("target").get<std::string>(), HasSubstr("round-to=measured")) << scope;
    EXPECT_LT(first.at("parameters").at("pruned"), first.at("parameters").at("dense")) << scope;
    EXPECT_EQ(json_of(words).at("cuts"), first.at("cuts")) << scope << ": times on disk give the same counts";
  }
  EXPECT_FALSE(std::filesystem::is_empty(folder / "plans"));
  unsetenv("ELEK_CACHE_DIR");
}

TEST(Latency, ACutTellsBothNetworks) {
  const Folder folder;
  const std::vector<std::string> words = cut_of(folder, "auto");
  const auto made = json_of(words).at("latency_ms");
  for (const std::string which : {"dense", "pruned"}) {
    const auto& ms = made.at(which);
    EXPECT_GT(ms.at("p10"), 0);
    EXPECT_LE(ms.at("p10"), ms.at("p50"));
    EXPECT_LE(ms.at("p50"), ms.at("p90"));
  }
  const Outcome told = elek_command(words);
  EXPECT_THAT(told.out, AnyOf(HasSubstr("times as fast"), HasSubstr("IS SLOWER"), HasSubstr("no clear difference")))
      << told.err;
}

/// A ResNet-20 of 4.3 MB: under 13 MB each network fits alone, but the two do not fit side by side.
TEST(Latency, NothingIsSaidOfNetworksThatDoNotFitSideBySide) {
  const Folder folder;
  const std::string dense = folder / "dense.safetensors";
  const Outcome prepared = elek_command(
      {"prepare", "--arch", "cifar_resnet20", "--input", "1,28,28", "--width", "32", "--random", "1", "--out", dense});
  ASSERT_EQ(prepared.exit_code, 0) << prepared.err;
  const auto made = json_of({"coverage",
                             "--model",
                             dense,
                             "--calibrate",
                             "synthetic:20:1",
                             "--evaluate",
                             "synthetic:10:2",
                             "--metric",
                             "magnitude",
                             "--channels",
                             "0.3",
                             "--repair",
                             "none",
                             "--batch",
                             "10",
                             "--threads",
                             "1",
                             "--device",
                             "cpu",
                             "--memory-limit",
                             "13MB",
                             "--out",
                             folder / "cut.safetensors"});
  EXPECT_TRUE(made.at("latency_ms").is_null()) << made.at("latency_ms");
}

std::string bench_json(int batch, double p10, double p50, double p90) {
  return R"({"command": "bench", "batch": )" + std::to_string(batch) + R"(, "latency_ms": {"p10": )" + std::to_string(p10) +
         R"(, "p50": )" + std::to_string(p50) + R"(, "p90": )" + std::to_string(p90) + "}}";
}

TEST(Compare, SaysWhatIsSlower) {
  const Folder folder;
  write_text(folder / "dense.json", bench_json(1, 0.9, 1.0, 1.1));
  write_text(folder / "slow.json", bench_json(1, 1.2, 1.5, 1.6));
  write_text(folder / "even.json", bench_json(1, 1.0, 1.05, 1.2));
  write_text(folder / "fast.json", bench_json(1, 0.4, 0.5, 0.6));
  write_text(folder / "many.json", bench_json(16, 12, 15, 16));
  write_text(folder / "cut.json",
             R"({"command": "coverage", "accuracy": {"dense": 1, "pruned": 1, "repaired": 1}, "latency_ms":
                 {"dense": {"p10": 1, "p50": 2, "p90": 3}, "pruned": {"p10": 4, "p50": 5, "p90": 6}}})");
  const auto said = [&](const std::string& other) {
    const Outcome outcome = elek_command({"compare", folder / "dense.json", folder / other});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  EXPECT_THAT(said("slow.json"), HasSubstr("slow.json is SLOWER than dense.json: 1.500 ms per batch, 1.000 ms\n"));
  EXPECT_THAT(said("even.json"),
              HasSubstr("even.json is not faster than dense.json: 1.050 ms per batch, 1.000 ms (their ranges"));
  EXPECT_THAT(said("cut.json"), HasSubstr("cut.json is SLOWER than dense.json: 5.000 ms per batch, 1.000 ms\n"));
  for (const char* other : {"fast.json", "many.json"}) {  // more images take longer
    EXPECT_THAT(said(other), Not(AnyOf(HasSubstr("SLOWER"), HasSubstr("not faster")))) << other;
  }
}

}  // namespace
}  // namespace elek::test
