// SPDX-License-Identifier: Apache-2.0
// The account of elek memory: what it foretells is what bench and --measure find, a limit is answered to the byte, and a
// refusal is a sum that adds up.
#include <sstream>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

std::string resnet18(const Folder& folder) {
  std::string model = folder / "resnet18.safetensors";
  EXPECT_EQ(elek_command({"prepare", "--arch", "resnet18", "--random", "1", "--out", model, "--quiet"}).exit_code, 0);
  return model;
}

/// Sanitizers keep memory of their own, and their programs are larger than their pages say.
bool sanitized() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return true;
#else
  return false;
#endif
}

TEST(MemoryAccount, ForetellsTheProcessUnderBenchAndMeasure) {
  if (sanitized()) GTEST_SKIP() << "the sanitizer's own memory is in the process";
  const Folder folder;
  const std::string model = resnet18(folder);
  for (const std::string batch : {"1", "16"}) {
    const auto foretold = elek_command({"memory", "--model", model, "--batch", batch, "--threads", "2", "--json"}).json();
    const auto running = foretold.at("process").at("running_bytes").get<double>();
    const auto peak = foretold.at("process").at("peak_bytes").get<double>();
    const auto bench =
        elek_command({"bench", "--model", model, "--batch", batch, "--threads", "2", "--seconds", "0", "--json"}).json();
    EXPECT_NEAR(bench.at("ledger").at("now").at("resident_bytes").get<double>() / running, 1, 0.02) << "batch " << batch;
    EXPECT_NEAR(bench.at("peak_rss_bytes").get<double>() / peak, 1, 0.02) << "batch " << batch;
    const auto measured =
        elek_command({"memory", "--model", model, "--batch", batch, "--threads", "2", "--measure", "--json"}).json();
    EXPECT_NEAR(measured.at("measured").at("resident_bytes").get<double>() / running, 1, 0.02) << "batch " << batch;
  }
}

TEST(MemoryAccount, TheLeastLimitRunsAndOneByteLessIsRefused) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  for (const std::string batch : {"1", "32"}) {
    const auto account = elek_command({"memory", "--model", model, "--batch", batch, "--threads", "2", "--json"}).json();
    const auto least = account.at("least_limit_bytes").get<size_t>();
    const auto under = [&](const std::string& command, size_t limit) {
      std::vector<std::string> words{command,     "--model", model,   "--batch", batch, "--memory-limit", std::to_string(limit),
                                     "--threads", "2",       "--json"};
      if (command == "bench") words.insert(words.end(), {"--seconds", "0"});
      return elek_command(words);
    };
    const Outcome fits = under("memory", least), bench = under("bench", least);
    EXPECT_EQ(fits.exit_code, 0) << fits.err;
    EXPECT_TRUE(fits.json().at("limit").at("fits").get<bool>());
    EXPECT_EQ(bench.exit_code, 0) << bench.err;
    EXPECT_EQ(fits.json().at("micro_batch"), bench.json().at("micro_batch"));
    EXPECT_EQ(fits.json().at("arena_bytes"), bench.json().at("memory").at("arena_bytes"));
    const Outcome refused = under("memory", least - 1);
    EXPECT_EQ(refused.exit_code, 4);
    EXPECT_FALSE(refused.json().at("limit").at("fits").get<bool>());
    EXPECT_THAT(refused.err, ::testing::HasSubstr("the least limit"));
    EXPECT_EQ(under("bench", least - 1).exit_code, 4);
  }
}

TEST(MemoryAccount, ANetworkByNameNeedsWhatItsFileNeeds) {
  const Folder folder;
  const auto by_file = elek_command({"memory", "--model", resnet18(folder), "--threads", "1", "--json"}).json();
  const auto by_name = elek_command({"memory", "--arch", "resnet18", "--threads", "1", "--json"}).json();
  EXPECT_EQ(by_name.at("model_bytes"), by_file.at("model_bytes"));
  EXPECT_NEAR(by_name.at("least_limit_bytes").get<double>() / by_file.at("least_limit_bytes").get<double>(), 1, 0.01);
}

/// The rows above "together" add up to it, and "too much" is what is above the limit.
TEST(MemoryAccount, ARefusalIsASumThatAddsUp) {
  const Folder folder;
  const Outcome refused =
      elek_command({"bench", "--model", resnet18(folder), "--memory-limit", "100MB", "--threads", "1", "--seconds", "0"});
  ASSERT_EQ(refused.exit_code, 4);
  EXPECT_THAT(refused.err, ::testing::HasSubstr("what needs memory"));
  EXPECT_THAT(refused.err, ::testing::Not(::testing::HasSubstr("smaller --batch"))) << "the batch is 1";
  EXPECT_THAT(refused.err, ::testing::HasSubstr("a larger --memory-limit"));
  std::istringstream lines(refused.err);
  int64_t sum = 0, together = 0, limit = 0, too_much = 0;
  bool in_table = false;
  for (std::string line; std::getline(lines, line);) {
    in_table = in_table || line.starts_with("what needs memory");
    const size_t last = line.rfind(' ');
    if (!in_table || last == std::string::npos || line.starts_with("what") || line.starts_with("elek")) continue;
    std::string digits = line.substr(last + 1);
    std::erase(digits, ',');
    const int64_t bytes = std::stoll(digits);
    if (line.starts_with("together"))
      together = bytes;
    else if (line.starts_with("limit"))
      limit = bytes;
    else if (line.starts_with("too much"))
      too_much = bytes;
    else
      sum += bytes;
  }
  EXPECT_EQ(limit, 100'000'000);
  EXPECT_GT(together, limit);
  EXPECT_EQ(sum, together);
  EXPECT_EQ(too_much, together - limit);
}

}  // namespace
}  // namespace elek::test
