// SPDX-License-Identifier: Apache-2.0
// elek info --groups and --history before and after a cut: in 100 columns for readers, and as JSON for scripts.
#include <algorithm>
#include <sstream>

#include "models/model_file.h"
#include "tests/cli/command.h"
#include "tests/golden/window_models.h"

namespace elek::test {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

std::string told(const std::vector<std::string>& words) {
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  std::istringstream lines(outcome.out);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
  return outcome.out;
}

nlohmann::json json_of(std::vector<std::string> words) {
  words.emplace_back("--json");
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  return outcome.json();
}

TEST(InfoGroups, ShowsWhatGoesTogether) {
  const Folder folder;
  const std::string model = tiny_model(folder);  // ResNet-20, option A: one group per stage and one per block
  const std::string text = told({"info", "--model", model, "--groups"});
  EXPECT_THAT(text, HasSubstr("layer2.0: 16 channels\n  made by layer2.0.conv2 layer2.1.conv2 layer2.2.conv2\n"));
  EXPECT_THAT(text, HasSubstr("read by layer2.1.conv1 layer2.2.conv1 layer3.0.conv1\n"));
  EXPECT_THAT(text, AllOf(HasSubstr("never cut: the network's input"), HasSubstr("never cut: the logits")));
  const auto groups = json_of({"info", "--model", model, "--groups"}).at("groups");
  int64_t prunable = 0;
  for (const auto& group : groups) {
    prunable += group.at("prunable").get<bool>() ? 1 : 0;
    if (group.at("name") != "layer2.0") continue;
    EXPECT_EQ(group.at("channels"), 16);
    EXPECT_EQ(group.at("conv_groups"), 1);
    EXPECT_THAT(group.at("watched").get<std::vector<std::string>>(), ElementsAre("layer2.0", "layer2.1", "layer2.2"));
    EXPECT_THAT(group.at("consumers").get<std::vector<std::string>>(),
                ElementsAre("layer2.1.conv1", "layer2.2.conv1", "layer3.0.conv1"));
  }
  EXPECT_EQ(prunable, 12);
}

/// A concatenation holds several groups: each is shown with its place there.
TEST(InfoGroups, ShowsThePlacesInAConcatenation) {
  const Folder folder;
  const std::string model = folder / "concat.safetensors";
  save_model(concat_model(), model);
  EXPECT_THAT(told({"info", "--model", model, "--groups"}),
              AllOf(HasSubstr("  values  dense2 block[22:28] pool[22:28]\n"),
                    HasSubstr(" both[0:9] both[19:28]\n          both[28:37] mean.fire"),
                    HasSubstr("  values  squeeze squeeze.relu\n")));
  const auto groups = json_of({"info", "--model", model, "--groups"}).at("groups");
  const auto group = std::find_if(groups.begin(), groups.end(), [](const auto& each) { return each.at("name") == "dense2"; });
  ASSERT_NE(group, groups.end());
  EXPECT_EQ(group->at("segments").at(0), nlohmann::json({{"value", "dense2"}, {"first", 0}, {"count", 6}}));
  EXPECT_EQ(group->at("segments").at(1), nlohmann::json({{"value", "block"}, {"first", 22}, {"count", 6}}));
}

TEST(InfoGroups, LongListsAreBroken) {
  const Folder folder;
  const std::string model = folder / "x.safetensors";
  ASSERT_EQ(
      elek_command({"prepare", "--arch", "resnext50_32x4d", "--input", "3,32,32", "--random", "1", "--out", model}).exit_code,
      0);
  EXPECT_THAT(told({"info", "--model", model, "--groups"}), HasSubstr("equally many from each of 32 convolution groups"));
}

TEST(InfoHistory, TellsWhatWasDoneAndOnWhat) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  EXPECT_THAT(told({"info", "--model", model, "--history"}), AllOf(HasSubstr("1. prepare (elek "), Not(HasSubstr("\n2. "))));
  const std::string hash = json_of({"info", "--model", model}).at("hash");
  const std::string small = folder / "small.safetensors";
  ASSERT_EQ(elek_command({"coverage", "--model", model, "--calibrate", "synthetic:30:1[3:28]", "--evaluate", "synthetic:10:2",
                          "--metric", "std-consumer", "--channels", "0.5", "--repair", "bn", "--seed", "7", "--out", small})
                .exit_code,
            0);
  const std::string text = told({"info", "--model", small, "--history"});
  for (const char* part :
       {"2. prune channels by std-consumer (elek ", "channels=0.5 scope=layer round-to=auto", "25 images of ",
        "synthetic:30:1[3:28]", "tap      relu", "repair   bn over 25 images", "seed     7", "layer1.0.relu1", "kept\n"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, HasSubstr(hash));
  const auto entry = json_of({"info", "--model", small}).at("history").back();
  EXPECT_EQ(entry.at("source_hash"), hash);
  EXPECT_EQ(entry.at("calibration"), "synthetic:30:1[3:28]");
  EXPECT_EQ(entry.at("calibration_samples"), 25);
  EXPECT_EQ(entry.at("repair_data"), "synthetic:30:1[3:28]");
  EXPECT_EQ(entry.at("repair_samples"), 25);
  EXPECT_EQ(entry.at("tap"), "relu");
  EXPECT_FALSE(entry.at("kernels").get<std::string>().empty());
  EXPECT_FALSE(entry.at("version").get<std::string>().empty());
  for (const auto& cut : entry.at("cuts")) {
    const auto before = cut.at("before").get<size_t>();
    EXPECT_EQ(cut.at("scores").size(), before);
    EXPECT_EQ(cut.at("kept").size(), before - cut.at("removed").get<size_t>());
    // Kept channels score at least as high as removed ones.
    double lowest_kept = 1e300;
    double highest_gone = 0;
    const auto kept = cut.at("kept").get<std::vector<size_t>>();
    for (size_t c = 0; c < before; ++c) {
      const double score = cut.at("scores").at(c);
      if (std::find(kept.begin(), kept.end(), c) != kept.end()) {
        lowest_kept = std::min(lowest_kept, score);
      } else {
        highest_gone = std::max(highest_gone, score);
      }
    }
    EXPECT_GE(lowest_kept, highest_gone) << cut.at("name");
  }
}

TEST(InfoHistory, MagnitudeWatchesNothing) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string small = folder / "small.safetensors";
  ASSERT_EQ(elek_command({"coverage", "--model", model, "--calibrate", "synthetic:30:1", "--evaluate", "synthetic:10:2",
                          "--metric", "magnitude", "--no-repair", "--out", small})
                .exit_code,
            0);
  const auto entry = json_of({"info", "--model", small}).at("history").back();
  EXPECT_EQ(entry.at("calibration"), "");
  EXPECT_EQ(entry.at("calibration_samples"), 0);
  EXPECT_EQ(entry.at("repair"), "none");
  EXPECT_EQ(entry.at("repair_samples"), 0);
}

}  // namespace
}  // namespace elek::test
