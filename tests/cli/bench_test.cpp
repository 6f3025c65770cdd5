// SPDX-License-Identifier: Apache-2.0
// elek bench: the percentiles are ordered, the rate follows from the mean, and a sentence says so if mean and median disagree.
#include <cmath>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

TEST(Bench, TellsTheSlowEndAndWhetherTheMeanAgrees) {
  const Folder folder;
  const Outcome outcome =
      elek_command({"bench", "--model", tiny_model(folder), "--seconds", "0.2", "--batch", "3", "--device", "cpu", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto json = outcome.json();
  const auto& ms = json.at("latency_ms");
  EXPECT_LE(ms.at("p50").get<double>(), ms.at("p90").get<double>());
  EXPECT_LE(ms.at("p90").get<double>(), ms.at("p99").get<double>());
  EXPECT_LE(ms.at("p99").get<double>(), ms.at("max").get<double>());
  const double mean = ms.at("mean"), median = ms.at("p50");
  EXPECT_LE(mean, ms.at("max").get<double>());
  EXPECT_NEAR(json.at("images_per_second").get<double>() * mean, 3e3, 1e-6 * 3e3);
  EXPECT_THAT(outcome.err, HasSubstr("99 % of the runs, and the slowest"));
  EXPECT_EQ(outcome.err.find("disagree") != std::string::npos, std::fabs(mean - median) > 0.1 * median) << outcome.err;
}

}  // namespace
}  // namespace elek::test
