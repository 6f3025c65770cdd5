// SPDX-License-Identifier: Apache-2.0
// --kernels measured through the command: times are stored in the folder that the environment names and read again; it also
// works without a disk.
#include <cstdlib>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

/// ELEK_CACHE_DIR for the commands of a test.
class CacheIn {
 public:
  explicit CacheIn(const std::string& path) { setenv("ELEK_CACHE_DIR", path.c_str(), 1); }
  CacheIn(const CacheIn&) = delete;
  CacheIn& operator=(const CacheIn&) = delete;
  ~CacheIn() { unsetenv("ELEK_CACHE_DIR"); }
};

std::vector<std::string> bench(const std::string& model, const std::string& kernels) {
  return {"bench", "--model", model, "--seconds", "0", "--device", "cpu", "--threads", "1", "--kernels", kernels, "--json"};
}

size_t occurrences(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Kernels, MeasuredOnesAreKeptAndSaidAndTheRuleMeasuresNothing) {
  const Folder folder;
  const CacheIn cache(folder.path());
  const std::string model = tiny_model(folder);
  const Outcome by_rule = elek_command(bench(model, "rule"));
  EXPECT_EQ(by_rule.json().at("kernels"), "rule");
  EXPECT_THAT(folder.files(), Not(::testing::Contains("plans")));
  const Outcome measured = elek_command(bench(model, "measured"));
  EXPECT_EQ(measured.json().at("kernels"), "measured");
  EXPECT_THAT(measured.err, HasSubstr("the kernel that was measured as the fastest on this machine"));
  EXPECT_THAT(folder.files(), ::testing::Contains("plans"));
  const auto steps =
      elek_command({"profile", "--model", model, "--seconds", "0", "--threads", "1", "--kernels", "measured", "--json"})
          .json()
          .at("steps");
  int64_t timed = 0;
  for (const auto& step : steps) timed += step.at("choice").get<std::string>().starts_with("timed: ") ? 1 : 0;
  EXPECT_GT(timed, 5);
  const Outcome exact = elek_command(
      {"profile", "--model", model, "--seconds", "0", "--threads", "1", "--kernels", "measured", "--deterministic", "--json"});
  for (const auto& step : exact.json().at("steps")) {
    EXPECT_EQ(step.at("choice"), "");
    EXPECT_THAT(step.at("kernel").get<std::string>(), Not(HasSubstr("winograd")));
  }
}

TEST(Kernels, ADiskThatTakesNothingIsOneWarning) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  write_text(folder / "file", "where the folder should be");
  const CacheIn cache(folder / "file");
  const Outcome outcome = elek_command(bench(model, "measured"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(occurrences(outcome.err, "warning"), 1U) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("the plan cache cannot be written"));
}

TEST(Kernels, RunTakesThemTooAndNoOtherWord) {
  const Folder folder;
  const CacheIn cache(folder.path());
  const std::string model = tiny_model(folder);
  const Outcome outcome = elek_command({"run", "--model", model, "--data", "synthetic:6:1", "--out", folder / "logits",
                                        "--threads", "1", "--kernels", "measured"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_THAT(folder.files(), ::testing::Contains("plans"));
  const Outcome wrong = elek_command({"bench", "--model", model, "--kernels", "best"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("--kernels"));
}

}  // namespace
}  // namespace elek::test
