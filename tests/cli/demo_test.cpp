// SPDX-License-Identifier: Apache-2.0
// The demo as scripts/demo runs it: seven networks in one table that fits a terminal.
#include <algorithm>
#include <sstream>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;

TEST(Demo, EndsWithATableOfSevenNetworks) {
  const Folder folder;
  const Outcome outcome = elek_command({"demo", "--data", shipped_data(), "--out", folder.path(), "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  const auto networks = outcome.json().at("networks");
  ASSERT_EQ(networks.size(), 7U);  // dense; coverage, Wanda on channels, Wanda on weights at 30 % and 50 %
  const auto& dense = networks.at(0);
  for (const auto& network : networks) {
    EXPECT_GT(network.at("latency_ms").at("p50").get<double>(), 0);
    EXPECT_GT(network.at("peak_rss_bytes").get<int64_t>(), 0);
    EXPECT_LE(network.at("macs").get<int64_t>(), dense.at("macs").get<int64_t>());
    if (network == dense) continue;
    EXPECT_LT(network.at("nonzero_parameters").get<int64_t>(), dense.at("nonzero_parameters").get<int64_t>());
    EXPECT_GT(network.at("statistics_bytes").get<int64_t>(), 0);
    EXPECT_GE(network.at("accuracy").at("repaired").get<double>(), network.at("accuracy").at("pruned").get<double>() - 0.01);
  }
  std::istringstream lines(outcome.err);
  bool in_table = false;
  for (std::string line; std::getline(lines, line);) {
    in_table = in_table || line.starts_with("top-1 in %");
    if (in_table) {
      EXPECT_LE(line.size(), 100U) << line;
    }
  }
  EXPECT_TRUE(in_table) << outcome.err;
}

TEST(Demo, SaysWhereItLookedForItsData) {
  const Folder folder;
  const Outcome outcome = elek_command({"demo", "--data", folder.path(), "--out", folder / "out"});
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_THAT(outcome.err, HasSubstr(folder.path()));
  EXPECT_TRUE(folder.files().empty());
}

}  // namespace
}  // namespace elek::test
